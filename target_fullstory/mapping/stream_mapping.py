"""One stream's mapping, compiled: the careful path from record to request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.calls.deletions import Deletions, is_deleted
from target_fullstory.mapping.calls.server_call import encode_call
from target_fullstory.mapping.plan.field_plan import Field, Group, Run, event_request, user_request
from target_fullstory.mapping.plan.property_plan import MAX_USER_PROPERTIES, PropertyPlan
from target_fullstory.mapping.rules.rejection import Mapped, Rejected, Rejection

if TYPE_CHECKING:
    from target_fullstory.kinds import Kind


class StreamMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Maps the records of one stream; made by `compile_mapping`.

    Attributes:
        stream: The stream's name.
        kind: What its records become.
        notices: One sentence per column whose property has another name, to be logged once.
        fields: Fullstory's own fields, in the order of the request.
        runs: The same fields, as they are read.
        groups: Object columns that are whole groups of fields.
        properties: How the record gives custom properties.
        schema: The SCHEMA it was compiled for.
        key_properties: The columns every record of the stream has.
        deletions: Makes deletions of the users whose record says that they are gone; None where
            such records are like any other.
    """

    stream: str
    kind: Kind
    notices: tuple[str, ...]
    fields: tuple[Field, ...]
    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    properties: PropertyPlan
    schema: dict[str, Any]
    key_properties: tuple[str, ...]
    deletions: Deletions | None = None

    def map_record(self, record: dict[str, Any]) -> Mapped | Rejected:
        """Makes the request of a record.

        Never raises, whatever the record holds. A property's name of more than 512 characters
        rejects the record that has it (`property_name_too_long`); at the top level of the SCHEMA or
        of the mapping it has been a configuration error before.

        Args:
            record: The record as decoded, from JSON or by the SDK: beside JSON's types there may be
                Decimal, date, time and datetime. It is not changed.

        Returns:
            The request, or why there is none.
        """
        dropped: list[str] = []
        try:
            if self.deletions is not None and is_deleted(record):
                call = self.deletions.make(record, dropped)
                return Mapped(encode_call(call), call.key, kind="user_deletions")
            request = self._fields_of(record, dropped)
            properties = self.properties.read(record, dropped)
            if properties.leaves > MAX_USER_PROPERTIES and self.kind == "users":
                raise _too_many(properties.leaves)
        except Rejection as rejection:
            return Rejected(rejection.code, rejection.message)
        if self.properties.produces:
            request["properties"] = properties.values
        if properties.declared:
            request["schema"] = {"properties": properties.declared}
        return Mapped(
            body=msgspec.json.encode(request),
            key=_key(request) if self.kind == "users" else None,
            timed="timestamp" in request,
            dropped=tuple(dict.fromkeys(dropped)) if dropped else (),
        )

    def refusal(self, record: dict[str, Any]) -> Rejected | None:
        """Why a record's own fields make no request; None where they do, whatever its properties are."""
        try:
            if self.deletions is not None and is_deleted(record):
                self.deletions.make(record, [])
            else:
                self._fields_of(record, [])
        except Rejection as rejection:
            return Rejected(rejection.code, rejection.message)
        return None

    def concealed(
        self, record: dict[str, Any], rejected: Rejected
    ) -> tuple[dict[str, Any], Rejected]:
        """A rejected record and the reason as they may be written to a file: these have no secrets."""
        return record, rejected

    def _fields_of(self, record: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
        if self.kind == "users":
            return user_request(self.runs, record, dropped)
        return event_request(self.runs, self.groups, record, dropped)


def _too_many(properties: int) -> Rejection:
    message = (
        f"the record has {properties} properties, those within objects counted; "
        f"Fullstory takes {MAX_USER_PROPERTIES} on a user"
    )
    return Rejection("too_many_properties", message)


def _key(request: dict[str, Any]) -> str:
    return str(request["uid"] if "uid" in request else request["id"])
