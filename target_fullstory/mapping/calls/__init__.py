"""The kinds that Fullstory takes call by call: deletions, webhook endpoints, any other request."""
