"""Where snapshots are kept outside this machine: a directory of any store that fsspec knows."""

from __future__ import annotations

import errno
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from target_fullstory.errors import ConfigurationError, OutputError
from target_fullstory.logs import printable

_LOCAL = {"file", "local"}
_CREATE_EXCLUSIVELY = {"s3", "s3a", "gs", "gcs", "memory"}
# Parts of an upload that are in memory at a time: s3fs alone would take ten of 50 MB.
_S3_UPLOAD = {"chunksize": 8 << 20, "max_concurrency": 2}
_MOST_OF_A_REASON = 300


class StoreError(OutputError):
    """The store cannot be reached, or refuses."""


class ObjectStore:
    """The objects of one directory; every error names the setting `snapshot_path`."""

    def __init__(self, url: str) -> None:
        """Take the value of `snapshot_path`.

        Raises:
            ConfigurationError: What is needed for it is not installed, or it is no address of a store.
        """
        self.url = url
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra

            # What it has cached could be older than another run's.
            files, self._root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            package = re.search(r"\b(gcsfs|adlfs|ocifs|paramiko|smbprotocol)\b", str(error))
            install = package[1] if package and not url.startswith("s3") else "'target-fullstory[cloud]'"
            raise ConfigurationError(
                f"Setting snapshot_path, {url}, needs a package that is not installed: pip install {install}."
            ) from None
        except Exception as error:  # noqa: BLE001 - of any store
            raise ConfigurationError(
                f"Setting snapshot_path, {url}, cannot be used: {_told(error)}."
            ) from None
        if not self._root.strip("/"):
            raise ConfigurationError(f"Setting snapshot_path, {url}, names no bucket: s3://bucket/path.")
        self._files: Any = files
        protocol = files.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)

    def sizes(self) -> dict[str, int]:
        """The objects' sizes, by name.

        Raises:
            StoreError: They cannot be listed, or there is no such bucket.
        """
        with self._trouble("read"):
            try:
                found = self._files.ls(self._root, detail=True)
            except FileNotFoundError:
                self._check_bucket()
                return {}
        return {
            each["name"].rpartition("/")[2]: each["size"] or 0 for each in found if each["type"] == "file"
        }

    def _check_bucket(self) -> None:
        """A directory may be missing, a bucket may not."""
        if self._protocols & (_LOCAL | {"memory"}):
            return
        bucket = self._root.partition("/")[0]
        if not self._files.exists(bucket):
            raise FileNotFoundError(f"there is no bucket {bucket}")

    def tail(self, name: str, size: int) -> bytes:
        """The last bytes of an object."""
        with self._trouble("read"):
            return bytes(self._files.tail(self._place(name), size))

    def get(self, name: str, file: Path) -> None:
        """Copy an object to a new file, for its owner alone; raises an OSError where it cannot be created."""
        file.unlink(missing_ok=True)
        file.touch(0o600)
        with self._trouble("read"):
            self._files.get_file(self._place(name), str(file))

    def create(self, name: str, file: Path) -> None:
        """Copy a file to an object that is not there yet, exclusively where the store can do that.

        Raises:
            FileExistsError: It is there.
            StoreError: It cannot be written.
        """
        with self._trouble("written"):
            if self._protocols & _LOCAL:
                self._link(self._place(name), file)
            else:
                self._put(self._place(name), file)

    def _put(self, place: str, file: Path) -> None:
        how = _S3_UPLOAD if self._protocols & {"s3", "s3a"} else {}
        if self._protocols & _CREATE_EXCLUSIVELY:
            try:
                self._files.put_file(str(file), place, mode="create", **how)
            except OSError as error:
                if error.errno != errno.ENOSYS:  # else it does not know If-None-Match
                    raise
            else:
                return
        if self._files.exists(place):
            raise FileExistsError(place)
        self._files.put_file(str(file), place, **how)

    def _link(self, place: str, file: Path) -> None:
        """Write to a directory, so that nobody finds a part of it."""
        self._files.makedirs(self._root, exist_ok=True)
        part = f"{place}.part-{secrets.token_hex(4)}"
        try:
            self._files.put_file(str(file), part)
            try:
                self._files.link(part, place)
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                if self._files.exists(place):
                    raise FileExistsError(place) from None
                self._files.mv(part, place)
        finally:
            with suppress(FileNotFoundError):
                self._files.rm_file(part)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._trouble("written"), suppress(FileNotFoundError):
            self._files.rm_file(self._place(name))

    def _place(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except Exception as error:  # noqa: BLE001 - of any store
            raise StoreError(
                f"The snapshot at {self.url} cannot be {what}: {_told(error)}. Check the setting "
                "snapshot_path, the credentials in the environment, and that they may list, read, write and "
                "delete there."
            ) from None


def _told(error: Exception) -> str:
    """What an error says, on one line and without what stands before an @ in an address."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = re.sub(r"//[^/@\s]*@", "//", printable(" ".join(text.split()))).rstrip(".")
    return f"{text[:_MOST_OF_A_REASON]} ({type(error).__name__})" if text else type(error).__name__
