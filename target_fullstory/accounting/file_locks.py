"""A lock on a file of `output_dir`: two processes must not work on one at a time."""

from __future__ import annotations

import errno
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


def try_lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed or the process ends; returns whether nobody else holds it.

    Where the system or the file system knows no locks, every file counts as free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
