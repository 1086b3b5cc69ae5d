"""The fast path: many records at once, in compiled structures; byte for byte what the careful path makes."""
