"""Deletions of users."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from target_fullstory.mapping.calls.server_call import Call, encode_call
from target_fullstory.mapping.outcome import MadeRequest, Rejected, Rejection
from target_fullstory.mapping.plan.field_plan import Field, column_for, read_fields
from target_fullstory.mapping.plan.sources import MISSING, Column
from target_fullstory.mapping.rules.destinations import missing_uid
from target_fullstory.mapping.rules.path_values import id_step

_THERE: Final = frozenset({"", "false", "f", "no", "n", "0"})
"""Texts, in any case, that do not say that a record is gone: a deletion cannot be taken back."""


class Deletions(msgspec.Struct, frozen=True):
    """Makes a deletion of a record from the fields `uid` and `id`."""

    fields: tuple[Field, ...]

    def make(self, record: dict[str, Any], dropped: list[str]) -> Call:
        """The deletion of the record's user, by its `uid` where there is one."""
        user = read_fields(self.fields, record, dropped)
        if not user:
            names = [field.destination.name for field in self.fields]
            raise missing_uid(names, column_for(self.fields, "uid", "id"))
        if "uid" in user:
            uid = user["uid"]
            # In a query `.` and `..` are values like any other.
            return Call(method="DELETE", path=f"/v2/users?uid={quote(uid, safe='')}", uid=uid)
        path = f"/v2/users/{id_step(user['id'], column_for(self.fields, 'id'))}"
        return Call(method="DELETE", path=path, id=user["id"])

    def of_deleted(
        self,
        deleted: Column,
        record: dict[str, Any],
        violation: Rejected | None,
        dropped: list[str],  # noqa: ARG002 - used for records that are there
    ) -> MadeRequest | None:
        """The deletion where a column of the record says that it is gone: not null, false, 0 or such text."""
        value = deleted.read(record)
        if isinstance(value, str):
            value = value.strip().lower() not in _THERE
        if value is MISSING or not value:
            return None
        call = self.make(record, [])
        if violation is not None:
            raise Rejection.of(violation)
        return MadeRequest("user_deletions", msgspec.Raw(encode_call(call)), call.key)
