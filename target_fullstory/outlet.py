"""What the reader and the sinks need of the place where mapped records go."""

from __future__ import annotations

from typing import Any, Protocol

from target_fullstory.kinds import Kind
from target_fullstory.mapping import Chunk, Mapped, Rejected


class Outlet(Protocol):
    """Takes mapped records: the pipeline to Fullstory, or a preview. All is called in the reading thread."""

    @property
    def takes_chunks(self) -> bool:
        """Whether `add_chunk` may be used."""

    @property
    def interrupted(self) -> bool:
        """Whether the run was asked to end."""

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; None for one that is ignored."""

    def know_schema(self, stream: str, message: dict[str, Any]) -> None:
        """Take note of a stream's SCHEMA message."""

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""

    def add(self, stream: str, kind: Kind, mapped: Mapped, record: Any) -> None:
        """Take one mapped record."""

    def add_chunk(self, stream: str, kind: Kind, chunk: Chunk) -> None:
        """Take the requests of records that follow each other."""

    def reject(
        self,
        stream: str,
        kind: Kind,
        rejected: Rejected,
        record: Any,
        request: bytes | None = None,
    ) -> None:
        """Take a record that is not to be sent, or its request where that alone is at hand."""

    def tell_dropped(self, stream: str, names: tuple[str, ...]) -> None:
        """Count property values that mapping left out."""

    def state(self, value: bytes) -> None:
        """Take a STATE message's value, as JSON."""

    def tick(self) -> None:
        """Do what time asks for."""
