"""What a mapping and a SCHEMA come to."""
