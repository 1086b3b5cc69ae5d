"""Messages that wait to be delivered, by the time of their next attempt, and counts of the others."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

_NOT_TRIED = "not_tried"  # when the run ended
_NO_ANSWER = "no_answer"  # its first attempt had no response yet when the run ended
_QUEUE_FULL = "queue_full"


@dataclass(eq=False)
class Message:
    """A message; when its first attempt began, in monotonic seconds, and why the latest one failed."""

    body: bytes
    attempts: int = 0
    first: float = 0.0
    reason: str = _NOT_TRIED


class WebhookQueue:
    """Holds a bounded number of messages; one that waits for a retry holds up none behind it. Thread-safe."""

    def __init__(self, room: int) -> None:
        """Start empty; messages for which there is no room are counted and dropped."""
        self._room = room
        lock = threading.Lock()
        self._due = threading.Condition(lock)
        self._ended = threading.Condition(lock)
        self._waiting: list[tuple[float, int, Message]] = []
        self._taken: set[Message] = set()
        self._number = 0
        self._delivered = 0
        self._reasons: Counter[str] = Counter()
        self._closed = False

    def put(self, body: bytes) -> None:
        """Add a message, or drop it where there is no room."""
        with self._due:
            if self._closed:
                return
            if len(self._waiting) + len(self._taken) >= self._room:
                self._reasons[_QUEUE_FULL] += 1
                return
            self._push(Message(body), time.monotonic())

    def take(self) -> Message | None:
        """Wait for a message whose time has come; None once the queue is closed."""
        with self._due:
            while not self._closed:
                pause = None
                if self._waiting:
                    pause = self._waiting[0][0] - time.monotonic()
                    if pause <= 0:
                        message = heapq.heappop(self._waiting)[2]
                        self._taken.add(message)
                        return message
                self._due.wait(pause)
            return None

    def delivered(self, message: Message) -> None:
        """Count a taken message as delivered."""
        with self._ended:
            if self._remove(message):
                self._delivered += 1

    def failed(self, message: Message, retry_in: float | None = None) -> bool:
        """Put a taken message back for a retry in so many seconds, or count it as not delivered.

        Returns False where the queue is closed and has counted the message already.
        """
        with self._ended:
            known = self._remove(message)
            if known and retry_in is not None:
                self._push(message, time.monotonic() + retry_in)
            elif known:
                self._reasons[message.reason] += 1
            return known

    def close(self, grace: float) -> dict[str, Any]:
        """Take no more; wait for what can end in so many seconds, and count the rest as not delivered.

        Returns how many messages were `delivered`, how many `failed`, and these by their `reasons`.
        """
        deadline = time.monotonic() + grace
        with self._ended:
            while (left := deadline - time.monotonic()) > 0:
                if not self._taken and not (self._waiting and self._waiting[0][0] <= deadline):
                    break
                self._ended.wait(left)
            self._closed = True
            self._due.notify_all()
            self._reasons.update(message.reason for _, _, message in self._waiting)
            self._reasons.update(
                _NO_ANSWER if message.reason == _NOT_TRIED else message.reason for message in self._taken
            )
            self._taken.clear()
            self._waiting.clear()
            failed = sum(self._reasons.values())
            return {"delivered": self._delivered, "failed": failed, "reasons": dict(self._reasons)}

    def _push(self, message: Message, due: float) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, message))
        self._due.notify()

    def _remove(self, message: Message) -> bool:
        """Remove a taken message; False where `close` has removed and counted it already."""
        known = message in self._taken
        self._taken.discard(message)
        self._ended.notify()
        return known
