"""What a tap says of its records: its SCHEMA repaired, and the records held against it."""
