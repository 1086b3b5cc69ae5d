"""The request body limit that all requests of a run share."""

from __future__ import annotations

import threading

from target_fullstory.logs import logger


class BodyLimit:
    """The setting `max_batch_bytes`, halved whenever Fullstory answered 413."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self.bytes = max_bytes

    def refused(self, size: int) -> None:
        """Halve the limit where a body of so many bytes, within it, was too large."""
        with self._lock:
            if size <= self.bytes:
                self.bytes = max(self.bytes // 2, 1)
                logger.warning(
                    "Fullstory refused a body of %d bytes; the limit is %d bytes for this run",
                    size,
                    self.bytes,
                )
