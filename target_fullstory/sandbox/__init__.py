"""A local Fullstory Server API, for trying things out and for tests."""
