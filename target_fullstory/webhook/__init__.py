"""The response webhook: the API's responses delivered to an address of the user's."""
