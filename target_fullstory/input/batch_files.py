"""BATCH messages: the files of a manifest, read in bounded memory."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from target_fullstory.errors import InputError, TargetFullstoryError
from target_fullstory.input.line_chunks import parts_of, whole_lines

_PARQUET_ROWS = 1000
_PACKAGES = {
    "s3": "singer-sdk[s3]",
    "s3a": "singer-sdk[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "sftp": "singer-sdk[ssh]",
}
"""What has to be installed to read files elsewhere than on this machine, by the scheme of their addresses."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class BatchFile:
    """A file of a BATCH message; its lines are records."""

    def __init__(self, message: Mapping[str, Any], url: str, storage: StorageTarget | None) -> None:
        self._stream = message["stream"]
        self._encoding = message["encoding"]
        self._url = url
        self._storage = storage
        self.name = _without_secrets(url)

    def chunks(self) -> Iterator[bytes]:
        """Its records, one a line, one or more whole lines at a time."""
        try:
            with self._open() as file:
                yield from self._records(file)
        except TargetFullstoryError:
            raise
        except ImportError:
            where = self._storage.root if self._storage else self._url
            needed = _PACKAGES.get(where.partition("://")[0], "what its file system needs")
            raise InputError(f"{self._cannot_be_read}. Install {needed}.") from None
        except Exception as error:  # noqa: BLE001 - a file system's or a decompressor's, of any library
            raise InputError(f"{self._cannot_be_read} ({type(error).__name__}). {self._check}") from None

    @property
    def _cannot_be_read(self) -> str:
        return f"A file of a BATCH message of stream {self._stream!r} cannot be read: {self.name}"

    @property
    def _check(self) -> str:
        return "Check the tap's batch_config and this target's."

    def _open(self) -> AbstractContextManager[IO[bytes]]:
        scheme = self._url.partition("://")[0] if "://" in self._url else ""
        if scheme in {"", "file"} and self._storage is None:
            return _local_path(self._url).open("rb")
        if scheme not in {"", "file", *_PACKAGES}:
            raise InputError(
                f"{self._cannot_be_read}. Files at {scheme}:// are not taken; let the tap write them to a "
                f"directory (file://) or to one of {', '.join(f'{name}://' for name in _PACKAGES)}."
            )
        directory, name = StorageTarget.split_url(self._url)
        return (self._storage or StorageTarget.from_url(directory)).open(name, mode="rb")

    def _records(self, file: IO[bytes]) -> Iterator[bytes]:
        form, compression = self._encoding.get("format"), self._encoding.get("compression") or "none"
        if form == "jsonl" and compression in {"none", "gzip"}:
            source: Any = gzip.GzipFile(fileobj=file) if compression == "gzip" else file
            yield from filter(None, whole_lines(parts_of(source)))
            if compression == "gzip" and not file.tell():
                # Without records there would be a header all the same; `gzip` does not miss it.
                raise InputError(f"{self._cannot_be_read}: it is empty, which no gzip file is. {self._check}")
        elif form == "parquet" and importlib.util.find_spec("pyarrow"):
            # singer-sdk's extra `parquet`.
            from pyarrow import parquet  # noqa: PLC0415

            for rows in parquet.ParquetFile(file).iter_batches(batch_size=_PARQUET_ROWS):
                yield b"".join(_encode(record) + b"\n" for record in rows.to_pylist())
        else:
            hint = " Install singer-sdk[parquet]." if form == "parquet" else ""
            raise InputError(f"BATCH encoding {form!r} with compression {compression!r} is unknown.{hint}")


def _without_secrets(url: str) -> str:
    """An address for a log: without the password or the signature in it."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    shown = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if separator else url
    return ascii(shown)[1:-1]


def _local_path(url: str) -> Path:
    """The path of a file's address. Some taps escape what is not ASCII in it, singer-sdk's do not."""
    path = url.removeprefix("file://").removeprefix("localhost")
    return Path(path) if Path(path).exists() else Path(unquote(path))
