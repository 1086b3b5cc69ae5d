"""The settings: declared once, typed, with their defaults, documentation and limits.

`JSON_SCHEMA` is derived from the same declaration: it is what `--about` prints and what singer-sdk
validates a configuration against.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from target_fullstory.mapping import MappingOptions, MappingSpec, redacted_spec
from target_fullstory.settings.masking import REDACTED
from target_fullstory.settings.webhook_settings import WebhookSettings, redacted_webhook

SANDBOX = "sandbox"
"""The value of `api_url` that starts the embedded sandbox."""

DEFAULT_API_URL = "https://api.fullstory.com"

API_BATCH_LIMIT = 50_000
"""Records that Fullstory takes in a batch job."""


def _doc(text: str, *, secret: bool = False, **limits: Any) -> Meta:
    extra = {"secret": True} if secret else None
    return Meta(description=text, extra_json_schema=extra, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a run; every attribute is a setting of the same name."""

    api_key: Annotated[
        str | None, _doc("Fullstory API key. Needed unless api_url is `sandbox`.", secret=True)
    ] = None
    api_key_encoding: Annotated[
        Literal["none", "base64"],
        _doc("How the key is sent: `none` as issued, `base64` as base64 of `key:`."),
    ] = "none"
    api_url: Annotated[
        str, _doc("The Server API's address, or `sandbox` for an embedded local Fullstory Server API.")
    ] = DEFAULT_API_URL
    streams: Annotated[
        dict[str, MappingSpec],
        _doc("Stream name or glob to mapping; an exact name wins, then the first glob that fits."),
    ] = {}
    unmapped_streams: Annotated[
        Literal["error", "ignore"],
        _doc("What to do with a stream that has no mapping: `error` at its SCHEMA, or `ignore`."),
    ] = "error"
    delivery: Annotated[
        Literal["auto", "single", "batch"],
        _doc(
            "`auto`: at each flush single requests up to batch_threshold records, a batch job "
            "above; `single`: always single requests; `batch`: always batch jobs."
        ),
    ] = "auto"
    batch_threshold: Annotated[int, _doc("See delivery.", ge=0)] = 25
    batch_size_rows: Annotated[int, _doc("Records per batch job, at most 50000 (the API's limit).", ge=1)] = (
        API_BATCH_LIMIT
    )
    max_batch_bytes: Annotated[
        int,
        _doc(
            "Request body limit in bytes; when Fullstory answers 413 it is halved for the run "
            "and the batch is sent in halves.",
            ge=1024,
        ),
    ] = 16 * 1024 * 1024
    max_open_bytes: Annotated[
        int,
        _doc(
            "Bytes of all batches together, those that still grow and those in flight; past it the largest "
            "is sent and reading waits. A batch has at most a quarter of it.",
            ge=1024 * 1024,
        ),
    ] = 64 * 1024 * 1024
    batch_wait_limit_seconds: Annotated[
        float, _doc("An open batch older than this is flushed, also while the tap is silent.", gt=0)
    ] = 300.0
    concurrency: Annotated[int, _doc("Requests in flight.", ge=1, le=64)] = 4
    max_jobs_in_progress: Annotated[
        int, _doc("Submitting pauses while this many batch jobs are in progress.", ge=1)
    ] = 90
    max_operations_in_progress: Annotated[
        int, _doc("Submitting pauses above this many records in unfinished batch jobs.", ge=1)
    ] = 450_000
    events_wait_for_users: Annotated[
        bool, _doc("Events wait until the users received before them are in; `false` is faster.")
    ] = True
    wait_for_jobs: Annotated[bool, _doc("Poll the batch jobs to their end before exiting.")] = True
    job_poll_interval_seconds: Annotated[
        float, _doc("First pause between two looks at a job; grows to 30 s.", gt=0)
    ] = 2.0
    job_timeout_seconds: Annotated[
        float, _doc("Past this a job is left PROCESSING in the state, with a warning.", gt=0)
    ] = 3600.0
    request_timeout_seconds: Annotated[float, _doc("Time limit of one attempt.", gt=0)] = 60.0
    retry_max_seconds: Annotated[float, _doc("Total time spent retrying one request.", ge=0)] = 600.0
    progress_interval_seconds: Annotated[
        float,
        _doc(
            "Time between two lines of progress, where there is no terminal, and between two METRIC lines; "
            "0: METRIC lines at the end only.",
            ge=0,
        ),
    ] = 30.0
    max_rejected_records: Annotated[
        int | None,
        _doc(
            "Above it the exit code is 1 at the end, all the rest delivered; null or a negative "
            "number: never."
        ),
    ] = 0
    max_rejected_percent: Annotated[
        float | None,
        _doc(
            "A stream of 20 records or more with a larger share rejected stops the run with exit code 1, and "
            "no STATE behind them is written; null or a negative number: never."
        ),
    ] = 50.0
    max_events: Annotated[
        int | None,
        _doc(
            "Events this run may send, a guard for the plan's monthly quota; the rest is rejected "
            "with code `event_quota`. Null or a negative number: no limit."
        ),
    ] = None
    null_values: Annotated[
        Literal["omit", "send"], _doc("Whether null property values are left out or sent.")
    ] = "omit"
    declare_types: Annotated[
        Literal["auto", "all", "none"],
        _doc(
            "Which properties are declared with their type: `auto` those that Fullstory's "
            "inference gets wrong (int, date and their lists), `all` or `none`."
        ),
    ] = "auto"
    hard_delete: Annotated[
        bool,
        _doc("Whether a users record deletes its user by `_sdc_deleted_at`, or the column of `soft_delete`."),
    ] = False
    output_dir: Annotated[
        str, _doc("Directory of the rejects files and run reports, created when first needed.")
    ] = "output/target-fullstory"
    snapshot_path: Annotated[
        str | None,
        _doc(
            "Directory, or fsspec URL such as s3://bucket/path, of what is known of the streams with `sync: "
            "changed` or `mirror`. Absent: `snapshot` in output_dir."
        ),
    ] = None
    resend_after_days: Annotated[
        int | None,
        _doc(
            "With `sync: changed` or `mirror`, an unchanged user is sent again after so many days; null or a "
            "negative number: never."
        ),
    ] = None
    keep_events_days: Annotated[
        int,
        _doc(
            "With `sync: changed`, for how many days an event is known, so that it is not sent again.", ge=1
        ),
    ] = 400
    max_vanished_percent: Annotated[
        float | None,
        _doc(
            "With `sync: mirror`, a larger share of a stream's known users that vanished stops the run with "
            "exit code 1, and none is marked or deleted; null or a negative number: never."
        ),
    ] = 10.0
    max_changed_percent: Annotated[
        float | None,
        _doc(
            "With `sync: changed` or `mirror`, a larger share of a stream's known users that changed stops "
            "the run with exit code 1, and nothing further is sent; null or a negative number: never."
        ),
    ] = None
    state_key: Annotated[
        str | None,
        _doc("Key of this target's block in the state; null or empty: state passes through untouched."),
    ] = "target_fullstory"
    state_responses: Annotated[int, _doc("API responses kept in the state block (the latest).", ge=0)] = 100
    integration_source: Annotated[str, _doc("Value of the `Integration-Source` header.")] = "target-fullstory"
    response_webhook: Annotated[
        WebhookSettings | None,
        _doc(
            "Where each of the API's responses is delivered: an object with url, method, auth, headers "
            "and include; see docs/response-webhook.md."
        ),
    ] = None
    validate_records: Annotated[
        bool, _doc("Check every record against its stream's SCHEMA; invalid ones are rejected.")
    ] = True

    @property
    def mapping_options(self) -> MappingOptions:
        """The settings that mapping depends on."""
        return MappingOptions(
            null_values=self.null_values, declare_types=self.declare_types, hard_delete=self.hard_delete
        )

    @property
    def bare_key(self) -> str:
        """The API key alone, without the scheme that it may have been pasted with."""
        key = (self.api_key or "").strip()
        return key[6:].strip() if key[:6].lower() == "basic " else key

    @property
    def advice_on_data_center(self) -> str | None:
        """What to try where a key of the EU data center is refused by the default host."""
        if self.api_url.rstrip("/") != DEFAULT_API_URL or not self.bare_key.startswith("eu1."):
            return None
        return (
            "The API key is one of the EU data center (eu1). Should Fullstory refuse it, set api_url to "
            "https://api.eu1.fullstory.com"
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that may appear in no log, state, file, error or URL."""
        key = self.bare_key
        return (key, base64.b64encode(f"{key}:".encode()).decode()) if key else ()

    def redacted(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration as it may be written to a file.

        Another's setting is shown where it cannot hide a secret, such as a key under a mistyped name.
        """
        ours = msgspec.to_builtins(self)
        for name in SECRET_SETTINGS:
            if ours[name]:
                ours[name] = REDACTED
        ours["streams"] = {name: redacted_spec(spec) for name, spec in self.streams.items()}
        if self.response_webhook is not None:
            ours["response_webhook"] = redacted_webhook(self.response_webhook)
        others = {
            name: value if isinstance(value, bool | int | float) else REDACTED
            for name, value in config.items()
            if name not in ours
        }
        return {**ours, **others}


def _json_schema() -> dict[str, Any]:
    schema = msgspec.json.schema_components([Settings])[1]["Settings"]
    del schema["title"], schema["description"]
    # Mappings are read by our own code, whose errors name stream, key and the nearest valid name.
    del schema["properties"]["streams"]["additionalProperties"]
    for setting in schema["properties"].values():
        # `--about` and the environment's parser read `type` alone.
        if "anyOf" in setting:
            # Without a type: an object that our own code reads, as it does the mappings.
            setting["type"] = [option.get("type", "object") for option in setting.pop("anyOf")]
        elif "enum" in setting:
            setting["type"] = "string"
    return dict(schema)


JSON_SCHEMA: dict[str, Any] = _json_schema()
"""JSON Schema of the settings, in the form singer-sdk expects."""

SECRET_SETTINGS = [name for name, schema in JSON_SCHEMA["properties"].items() if schema.get("secret")]
"""The settings that are secret themselves; `response_webhook` holds more secrets."""
