"""Record to request: pure functions, compiled once per SCHEMA."""
