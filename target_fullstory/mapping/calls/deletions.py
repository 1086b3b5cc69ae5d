"""Deletions of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from target_fullstory.mapping.calls.call_paths import id_step
from target_fullstory.mapping.calls.server_call import Call
from target_fullstory.mapping.plan.field_plan import user_request

if TYPE_CHECKING:
    from target_fullstory.mapping.plan.field_plan import Run

DELETED_AT: Final = "_sdc_deleted_at"
"""The column in which a tap tells that a record is gone from its source."""


def is_deleted(record: dict[str, Any]) -> bool:
    """Whether a record says that it is gone; empty text, as of a CSV file, does not."""
    return record.get(DELETED_AT) not in (None, "")


class Deletions(msgspec.Struct, frozen=True):
    """Makes a deletion of a record.

    Attributes:
        runs: The fields `uid` and `id`, as they are read.
    """

    runs: tuple[Run, ...]

    def make(self, record: dict[str, Any], dropped: list[str]) -> Call:
        """The deletion of the record's user, by its `uid` where there is one.

        Raises:
            Rejection: Neither `uid` nor `id` has a value, or one that cannot be of a user; an `id`
                that is no step of a path.
        """
        user = user_request(self.runs, record, dropped)
        if "uid" in user:
            uid = user["uid"]
            # In a query `.` and `..` are values like any other.
            return Call(method="DELETE", path=f"/v2/users?uid={quote(uid, safe='')}", uid=uid)
        path = f"/v2/users/{id_step(user['id'])}"
        return Call(method="DELETE", path=path, id=user["id"])
