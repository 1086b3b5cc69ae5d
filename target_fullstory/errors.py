"""The project's few exception types.

Every message says what happened, to which stream or setting, and what to do about it; the command line
prints it as its one line before exit code 1.
"""

from __future__ import annotations


class TargetFullstoryError(Exception):
    """Anything that ends a run with one clear line and exit code 1."""


class ConfigurationError(TargetFullstoryError):
    """A setting or a mapping that cannot work, found before its records are sent."""


class InputError(TargetFullstoryError):
    """A line of input that is no Singer message, or comes where it cannot be understood."""


class DeliveryError(TargetFullstoryError):
    """Fullstory cannot be reached, or refuses more than a single record."""


class OutputError(TargetFullstoryError):
    """A file of the run, such as the rejects file, cannot be written."""


class TooManyRejectsError(TargetFullstoryError):
    """More records were rejected than `max_rejected_records` allows; the rest was delivered."""
