"""How the sandbox says no: to a request, and to a start without what it needs."""

from __future__ import annotations


class SandboxNotInstalledError(ImportError):
    """The packages of the extra `sandbox` are missing."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"the sandbox needs the package {package!r}: pip install 'target-fullstory[sandbox]'",
            name=package,
        )


class ApiError(Exception):
    """A refusal, answered as `{"message", "code"}`.

    Attributes:
        status: HTTP status.
        code: Stable snake_case name of what is wrong.
        message: The same for a reader.
        retry_after: Seconds for a `Retry-After` header.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def invalid(code: str, message: str) -> ApiError:
    """A 400: the request itself is wrong.

    Args:
        code: Stable snake_case name of what is wrong.
        message: The same for a reader.

    Returns:
        The error to raise.
    """
    return ApiError(400, code, message)


def required(field: str) -> ApiError:
    """A 400: something the request must have is missing.

    Args:
        field: What is missing.

    Returns:
        The error to raise.
    """
    return ApiError(400, "required_field", f"{field} is required")


def user_not_found() -> ApiError:
    """A 404 for a user.

    Returns:
        The error to raise.
    """
    return ApiError(404, "user_not_found", "No user has that id or uid")


def not_found() -> ApiError:
    """A 404 for anything but a user.

    Returns:
        The error to raise.
    """
    return ApiError(404, "resource_not_found", "The requested resource does not exist")
