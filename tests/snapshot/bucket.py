"""An S3 server on loopback, and what is in its buckets."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

BUCKET = "snapshots"
URL = f"s3://{BUCKET}/fullstory/nightly"


class Bucket:
    """A bucket that the environment's credentials may use."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = boto3.client("s3")
        self.create()

    def create(self) -> None:
        """Make the bucket."""
        self.client.create_bucket(Bucket=BUCKET)

    @property
    def objects(self) -> dict[str, bytes]:
        """Contents, by the name behind the last slash."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {each["Key"].rpartition("/")[2]: self.read(each["Key"]) for each in found}

    def read(self, key: str) -> bytes:
        """One object's content."""
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        """Make or overwrite an object in the directory of `URL`."""
        self.client.put_object(Bucket=BUCKET, Key=f"fullstory/nightly/{name}", Body=content)

    def forget(self, *, after: dict[str, bytes]) -> None:
        """Remove the objects that were not there before."""
        for name in self.objects.keys() - after.keys():
            self.client.delete_object(Bucket=BUCKET, Key=f"fullstory/nightly/{name}")

    def clear(self) -> None:
        """Remove all objects."""
        for each in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            self.client.delete_object(Bucket=BUCKET, Key=each["Key"])

    def delete(self) -> None:
        """Remove the bucket, and what is in it."""
        self.clear()
        self.client.delete_bucket(Bucket=BUCKET)


@cache
def _endpoint() -> str:
    """Start a server for all tests of this process; it ends with it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@contextmanager
def bucket(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[Bucket]:
    """Give an empty bucket; the environment leads there."""
    endpoint = _endpoint()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, environment.get(name, value))
    _post(f"{endpoint}/moto-api/reset")
    yield Bucket(endpoint)


@contextmanager
def refusing(server: Bucket) -> Iterator[None]:
    """From here on the server knows no credentials."""
    _post(f"{server.endpoint}/moto-api/reset-auth", b"0")
    try:
        yield
    finally:
        _post(f"{server.endpoint}/moto-api/reset-auth", b"inf")


def _post(address: str, body: bytes = b"") -> None:
    request = urllib.request.Request(address, body, {"Content-Type": "text/plain"}, method="POST")
    urllib.request.urlopen(request).close()


@contextmanager
def at_each_upload(call: Callable[[], None]) -> Iterator[None]:
    """Call something when an object is about to be written."""
    serve = DomainDispatcherApplication.__call__

    def watch(self: Any, environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "PUT" and ".mdb" in environ["PATH_INFO"]:
            call()
        return serve(self, environ, start_response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", watch)
        yield
