"""A lock on a file: two processes must not work on what it stands for at a time."""

from __future__ import annotations

import errno
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


def try_lock(file: IO[bytes], *, shared: bool = False) -> bool:
    """Lock a file until it is closed or the process ends; returns whether nobody else holds it.

    A `shared` lock may be held by several, and by nobody else meanwhile. What was locked before is locked
    anew, and where that fails not locked any more. Where the system or the file system knows no locks, every
    file counts as free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
