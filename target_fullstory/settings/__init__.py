"""Settings: the configuration, read and checked in one place."""
