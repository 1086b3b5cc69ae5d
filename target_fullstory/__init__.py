"""A Singer target that carries any tap's records into Fullstory as users and events."""
