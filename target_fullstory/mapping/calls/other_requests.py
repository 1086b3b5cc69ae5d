"""Any other call of the Server API: method, path and body as the mapping says."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from target_fullstory.mapping.calls.call_paths import PathTemplate, PathValue
from target_fullstory.mapping.calls.server_call import Call, Sharing
from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.plan.sources import MISSING, Column, Source, column_of
from target_fullstory.mapping.rules.path_values import method_of
from target_fullstory.mapping.spec import BatchSpec


class BodySource(Protocol):
    """Gives the body of a record."""

    def read(self, record: dict[str, Any], dropped: list[str]) -> Any:
        """The body, `MISSING` for none; adds the names of what is left out to `dropped`."""


class OtherCalls(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the call of a record."""

    method: Source  # where the method comes from
    path: PathTemplate | PathValue  # where the path comes from
    body: BodySource  # where the body comes from
    body_asked: bool  # whether the mapping asks for a body, so that a DELETE has one too
    batch: BatchSpec | None  # how records share calls; None where each has its own
    group: Column | None  # the column that records of one call have in common

    def make(self, record: dict[str, Any], dropped: list[str]) -> Call:
        """The call for a record."""
        try:
            method = method_of(self.method.read(record))
        except Rejection as rejection:
            raise rejection.in_column(column_of(self.method)) from None
        path = self.path.read(record)
        if method == "GET" or (method == "DELETE" and not self.body_asked):
            return Call(method=method, path=path)
        body = self.body.read(record, dropped)
        if body is MISSING and self.batch is None:
            return Call(method=method, path=path)
        encoded = msgspec.json.encode({} if body is MISSING else body)
        sharing = None
        if self.batch is not None:
            sharing = Sharing(self.batch.key, self.batch.size, self._group(record))
        return Call(method=method, path=path, body=msgspec.Raw(encoded), sharing=sharing)

    def _group(self, record: dict[str, Any]) -> str | None:
        if self.group is None:
            return None
        value = self.group.read(record)
        return repr(None if value is MISSING else value)
