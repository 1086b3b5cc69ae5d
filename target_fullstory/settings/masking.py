"""Takes secrets out of texts that come from outside, in whatever form these repeat them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

REDACTED = "****"

_ESCAPING = re.compile(rb"[\\%&]")
_ESCAPED = re.compile(r"[\\%&]")


class Mask:
    """Masks secrets in texts, also where these are escaped as in JSON, an address or HTML, once or more."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._plain = [secret.encode() for secret in self._secrets]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join("".join(map(_forms, secret)) for secret in self._secrets))

    def may_be_in(self, content: bytes) -> bool:
        """Whether a body has to be looked at: cheap, and False for most."""
        return bool(self._secrets) and (
            _ESCAPING.search(content) is not None or any(secret in content for secret in self._plain)
        )

    def text(self, text: str) -> str:
        """A text without the secrets."""
        if self._secrets and _ESCAPED.search(text):
            return self._pattern.sub(REDACTED, text)
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text

    def data(self, value: Any) -> Any:
        """Decoded JSON without the secrets, in keys as in values."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.data(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.data(inner) for inner in value]
        return value


def _forms(char: str) -> str:
    """A pattern of the forms in which a character may be written."""
    point, plain = ord(char), re.escape(char)
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in char.encode())
    return rf"(?:\\*{plain}|\\+u(?i:{point:04x})|(?i:{percent})|&#(?:0*{point}|(?i:x0*{point:x}));)"
