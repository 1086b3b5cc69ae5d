"""The API's responses, and what they mean: for a record, or for the whole run."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

import msgspec

from target_fullstory.api.transport import HttpResponse
from target_fullstory.errors import DeliveryError, KeyRefusedError

CONCERNS_RECORDS = frozenset({400, 413, 422})  # statuses that one record or a batch's size may have caused
UNKNOWN_USER = "user_not_found"  # a record names no existing user; any other 404 is a wrong address

Content: TypeAlias = Literal["object", "json", "any"]
"""What the body of a 2xx must be: a JSON object; JSON or empty; anything but an HTML page."""

_AN_ERRORS = {"code", "message"}
_BOM = b"\xef\xbb\xbf"
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Response(msgspec.Struct, frozen=True):
    """A final response of the API: 2xx, a 4xx that concerns this request alone, or 3xx.

    `data` is the JSON object in the body. The response is `uncertain` where an earlier attempt got no clear
    response, so that it may have been carried out.
    """

    status: int
    data: dict[str, Any]
    uncertain: bool = False

    @property
    def ok(self) -> bool:
        """Whether the API did what was asked."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The API's error code, or one made of the status where it gave no usable one."""
        code = self.data.get("code")
        return code if isinstance(code, str) and _CODE.fullmatch(code) else f"http_{self.status}"

    @property
    def error_code(self) -> str | None:
        """The code of a refusal; None where the API did what was asked."""
        return None if self.ok else self.code

    @property
    def message(self) -> str:
        """The API's error message."""
        return str(self.data.get("message") or f"Fullstory answered {self.status}")


def unexpected(call: str, response: Response) -> DeliveryError:
    """The error of a response that concerns more than a record; `call` is without a record's values."""
    # Without the API's message, which may quote a record.
    return DeliveryError(
        f"Fullstory answered {call} with {response.status} ({response.code}). Check the setting api_url."
    )


def raise_refusal(status: int, call: str, *, redirects: bool) -> None:
    """Raise the error of a status that the run's other requests would get as well.

    `call` is method and path, without a record's values.
    """
    if status == 401:
        raise KeyRefusedError(
            "Fullstory does not accept the API key (401). Check the setting api_key, and api_key_encoding if "
            "the key is right."
        )
    if status == 403 and call.startswith("GET ") and "/batch/" in call:
        raise KeyRefusedError(
            "The API key may not read batch jobs (403): that takes an Admin or Architect key. Use such "
            "a key, or set delivery to single, or wait_for_jobs to false."
        )
    if status == 403:
        raise KeyRefusedError(
            f"The API key's role does not allow {call} (403). Use a Standard, Admin or Architect key of "
            "the organization to write, an Admin or Architect key for webhook endpoints, an Architect key "
            "to delete users."
        )
    if 300 <= status < 400 and not redirects:
        raise DeliveryError(
            f"{call} was answered with a redirect ({status}), which is not followed. Set api_url to the "
            "API's own address."
        )


def json_object(content: bytes) -> dict[str, Any] | None:
    """A body as a JSON object; None where it is no such object."""
    try:
        data = msgspec.json.decode(content)
    except _NOT_JSON:
        return None
    return data if isinstance(data, dict) else None


def flaw(response: HttpResponse, data: dict[str, Any] | None, wanted: Content, holds: str) -> str | None:
    """What shows that a 2xx is not the API's answer; None where nothing does.

    Args:
        response: The 2xx.
        data: Its body as a JSON object, if it is one.
        wanted: What the body must be.
        holds: Where the object must hold a value, such as `job.id`; empty where it need not.
    """
    if data is not None:
        if holds:
            return None if _value_at(data, holds) else f"without {holds}"
        return "with an error" if wanted != "any" and data.keys() >= _AN_ERRORS else None
    text = response.content.removeprefix(_BOM).strip()
    if not text or _is_json(text):
        return "without a JSON object" if wanted == "object" else None
    if text.startswith(b"<") or "html" in response.headers.get("Content-Type", "").lower():
        return "with an HTML page"
    return None if wanted == "any" else "without JSON"


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content)
    except _NOT_JSON:
        return False
    return True


def _value_at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str | int) else None
