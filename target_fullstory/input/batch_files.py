"""BATCH messages: the files of a manifest, read as RECORD lines, in bounded memory."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from target_fullstory.errors import InputError
from target_fullstory.input.line_chunks import parts_of, whole_lines

_PARQUET_ROWS = 1000
_encode = msgspec.json.Encoder(decimal_format="number").encode


def record_lines(message: Mapping[str, Any], storage: StorageTarget | None) -> Iterator[bytes]:
    """The records in a BATCH message's files, as chunks of RECORD lines."""
    head = b'{"type":"RECORD","stream":%s,"record":' % msgspec.json.encode(message["stream"])
    encoding = message["encoding"]
    for url in message["manifest"]:
        try:
            directory, name = StorageTarget.split_url(url)
            with (storage or StorageTarget.from_url(directory)).open(name, mode="rb") as file:
                for chunk in _records(file, encoding):
                    lines = [line for line in chunk.split(b"\n") if line and not line.isspace()]
                    yield b"".join(head + line.rstrip() + b"}\n" for line in lines)
        except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
            raise InputError(
                f"A file of a BATCH message of stream {message['stream']!r} cannot be read: {url} "
                f"({type(error).__name__}). Check the tap's batch_config and this target's."
            ) from None


def _records(file: IO[bytes], encoding: Mapping[str, Any]) -> Iterator[bytes]:
    form, compression = encoding.get("format"), encoding.get("compression") or "none"
    if form == "jsonl" and compression in {"none", "gzip"}:
        source: Any = gzip.GzipFile(fileobj=file) if compression == "gzip" else file
        yield from filter(None, whole_lines(parts_of(source)))
    elif form == "parquet" and importlib.util.find_spec("pyarrow"):
        # singer-sdk's extra `parquet`.
        from pyarrow import parquet  # noqa: PLC0415

        for rows in parquet.ParquetFile(file).iter_batches(batch_size=_PARQUET_ROWS):
            yield b"\n".join(_encode(record) for record in rows.to_pylist())
    else:
        hint = " Install singer-sdk[parquet]." if form == "parquet" else ""
        raise InputError(f"BATCH encoding {form!r} with compression {compression!r} is unknown.{hint}")
