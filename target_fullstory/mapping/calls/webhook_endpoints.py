"""Webhook endpoints: created, updated and deleted."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from target_fullstory.mapping.calls.server_call import MASK, Call, masked_secret
from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.plan.field_plan import Field, column_for, read_fields
from target_fullstory.mapping.rules.path_values import id_step

ENDPOINTS: Final = "/webhooks/v1/endpoints"
"""The path of the calls."""


class Endpoints(msgspec.Struct, frozen=True):
    """Makes the creation, the update or the deletion of an endpoint of a record."""

    fields: tuple[Field, ...]  # the endpoint's fields

    def make(self, record: dict[str, Any], dropped: list[str]) -> Call:
        """The call for a record; only fields that have a value are sent."""
        fields = read_fields(self.fields, record, dropped)
        action, endpoint = fields.pop("action", None), fields.pop("id", None)
        if action is None:
            problem = "the record has no action: create, update or delete"
            raise Rejection("invalid_action", problem, column_for(self.fields, "action"))
        if fields.get("secret") == MASK:
            raise masked_secret()
        if action == "create":
            if "url" not in fields:
                problem = "an endpoint cannot be created without its url"
                raise Rejection("missing_url", problem, column_for(self.fields, "url"))
            body = msgspec.Raw(msgspec.json.encode(fields))
            return Call(method="POST", path=ENDPOINTS, body=body, action=action)
        if endpoint is None:
            problem = f"the {action} of an endpoint needs its id"
            raise Rejection("missing_id", problem, column_for(self.fields, "id"))
        path = f"{ENDPOINTS}/{id_step(endpoint, column_for(self.fields, 'id'))}"
        if action == "delete":
            return Call(method="DELETE", path=path, id=endpoint, action=action)
        body = msgspec.Raw(msgspec.json.encode(fields))
        return Call(method="POST", path=path, body=body, id=endpoint, action=action)
