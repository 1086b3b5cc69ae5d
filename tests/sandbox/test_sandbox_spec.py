"""The sandbox has the paths, fields and lengths of Fullstory's published OpenAPI documents."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from target_fullstory.sandbox.rules import sandbox_request_shapes as shapes
from target_fullstory.sandbox.rules.sandbox_property_rules import MAX_USER_PROPERTIES
from target_fullstory.sandbox.rules.sandbox_request_rules import MAX_UID_LENGTH, MAX_USER_LENGTHS

SPEC = Path(__file__).parents[2] / ".." / "shared" / "spec"
# Fields that are documented, but newer than the documents.
NEWER = {("SessionIdRequest", "uid")}
SHAPES = {
    "users.CreateUserRequest": shapes.UserRequest,
    "users.UpdateUserRequest": shapes.UserRequest,
    "users.BatchUserImportRequest": shapes.BatchUserRequest,
    "users.CreateBatchUserImportJobRequest": shapes.UserBatch,
    "events.CreateEventRequest": shapes.EventRequest,
    "events.CreateBatchEventsImportJobRequest": shapes.EventBatch,
    "events.SharedData": shapes.SharedData,
    "events.Context": shapes.Context,
    "events.BrowserContext": shapes.BrowserContext,
    "events.MobileContext": shapes.MobileContext,
    "events.DeviceContext": shapes.DeviceContext,
    "events.LocationContext": shapes.LocationContext,
    "events.UserIdRequest": shapes.UserIdentity,
    "events.SessionIdRequest": shapes.SessionIdentity,
    "varsapi.Schema": shapes.Schema,
}


@pytest.mark.skipif(not SPEC.exists(), reason="the OpenAPI documents are not at hand")
def test_paths_fields_and_lengths_are_those_of_the_openapi_documents(api, connect):
    documents = [json.loads(path.read_text()) for path in sorted(SPEC.glob("*.swagger.json"))]
    assert len(documents) == 2
    definitions = {
        name.removeprefix("fullstory.v2."): definition
        for document in documents
        for name, definition in document["definitions"].items()
    }
    for name, shape in SHAPES.items():
        newer = {field for of, field in NEWER if name.endswith(of)}
        fields = {field.encode_name for field in msgspec.structs.fields(shape)}
        assert fields - newer == set(definitions[name]["properties"]), name
    user = definitions["users.CreateUserRequest"]["properties"]
    assert {field: user[field]["maxLength"] for field in MAX_USER_LENGTHS} == MAX_USER_LENGTHS
    assert user["properties"]["maxProperties"] == MAX_USER_PROPERTIES
    identity = definitions["events.UserIdRequest"]["properties"]
    assert identity["uid"]["maxLength"] == MAX_UID_LENGTH
    assert definitions["apierror.ErrorResponse"]["required"] == ["message", "code"]
    stranger = connect(api.url, authorization=None)
    for document in documents:
        for path, methods in document["paths"].items():
            for method in methods:
                # Without a key every call there is answers 401, and one that is not there 404 or 405.
                refused = stranger.refused(method.upper(), re.sub(r"\{\w+\}", "1", path))
                assert refused == (401, "unauthorized"), (method, path)
