"""Batches to Fullstory: in order, within the limits, jobs followed to their end."""
