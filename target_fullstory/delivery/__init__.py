"""Request to Fullstory: batches, the HTTP client, order, jobs and rejects."""
