"""How the sandbox refuses a request."""

from __future__ import annotations

import math


class ApiError(Exception):
    """A refusal, answered as `{"message", "code"}`; `code` is a stable name in snake_case."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def invalid(code: str, message: str) -> ApiError:
    """A 400: the request itself is wrong."""
    return ApiError(400, code, message)


def required(field: str) -> ApiError:
    """A 400: a field that the request must have is missing."""
    return ApiError(400, "required_field", f"{field} is required")


def user_not_found() -> ApiError:
    """A 404 for a user."""
    return ApiError(404, "user_not_found", "No user has that id or uid")


def not_found() -> ApiError:
    """A 404 for anything but a user."""
    return ApiError(404, "resource_not_found", "The requested resource does not exist")


def too_many_requests(message: str, seconds: float) -> ApiError:
    """A 429 that asks the client to wait so many seconds, at least one."""
    return ApiError(429, "too_many_requests", message, retry_after=max(1, math.ceil(seconds)))
