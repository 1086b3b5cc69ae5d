"""Fullstory's rules, each stated once: what it takes, and what a value becomes."""
