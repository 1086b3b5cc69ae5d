"""Fullstory's rules as the sandbox applies them: an oracle that shares nothing with the target."""
