"""Addresses in settings: https, or plain http on this machine; never with credentials in them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from target_fullstory.errors import ConfigurationError


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def normalized(address: str) -> str:
    """An address in the one form by which it is compared: no trailing slash, no default port, lower case."""
    url = urlsplit(address.strip())
    if not url.hostname:
        return address.strip().lower()
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname.rstrip(".")
    port = "" if url.port in {None, {"http": 80, "https": 443}.get(url.scheme)} else f":{url.port}"
    return f"{url.scheme}://{host}{port}{url.path.rstrip('/')}"


def _is_host(name: str) -> bool:
    """Whether a name, as an address has it, can be looked up."""
    if ":" in name:  # IPv6, which urlsplit has checked
        return True
    if not name.isascii():
        import idna  # noqa: PLC0415 - requests needs it too, for names such as this one

        try:
            name = idna.encode(name, uts46=True).decode()
        except UnicodeError:
            return False
    name = name.removesuffix(".")
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split(".")) and name[0] != "*"


def check_address(setting: str, address: str, *, wanted: str, exposed: str) -> None:
    """Refuse an address that requests, and the secrets with them, must not be sent to.

    The error does not show the address, as it may hold a secret. It says what the setting is to be (`wanted`)
    and what plain http would send in the clear (`exposed`).
    """
    try:
        url = urlsplit(address)
        usable = url.hostname and url.port != 0 and address.isprintable() and " " not in address
    except ValueError:
        usable = False
    if not usable or url.scheme not in {"http", "https"} or url.username or url.password:
        raise ConfigurationError(f"Setting {setting} is to be {wanted}.")
    host = url.hostname or ""
    if not _is_host(host):
        raise ConfigurationError(
            f"Setting {setting} has a host name that no host can have: too long, or with a part that is "
            f"empty, too long or not a name. It is to be {wanted}."
        )
    if url.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"Setting {setting} uses plain http for {host}; {exposed} would travel in the clear. Use "
            "https (http is for loopback only)."
        )


def is_store_url(path: str) -> bool:
    """Whether a setting that takes a directory, or an address of a store of objects, is the latter."""
    return "://" in path


def check_snapshot_path(path: str) -> None:
    """Refuse an address with credentials: it is told in errors and logs. The error does not show it."""
    if not is_store_url(path):
        return
    try:
        url = urlsplit(path)
        usable = url.scheme and path.isprintable() and "::" not in path
        # A secret may hold slashes; Azure's `abfs://container@account…` holds none.
        exposed = ":" in path.partition("://")[2].rpartition("@")[0] or url.query or url.fragment
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            "Setting snapshot_path is to be a directory, or an address such as s3://bucket/path."
        )
    if exposed:
        raise ConfigurationError(
            "Setting snapshot_path is to be an address without credentials or parameters, such as "
            "s3://bucket/path. Credentials come from the environment: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile or a role."
        )
