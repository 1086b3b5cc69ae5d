"""What users are called, where one that vanishes is marked or deleted by its uid: in a mirror.

The store knows users by hashes. Of these streams alone it keeps the uids as well, or the ids where there
is no uid: text in buckets by the first bits of the user's key, compressed where a bucket is large enough to
gain by it. Which one is a user's is told by hashing them.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec

_END: Final = b"\xff"
"""Behind each name: no byte of UTF-8."""

_LENGTH_BYTES = 4
# A bucket's new names are compressed when there are so many bytes of them, and as many as it has compressed.
_LEAST_TO_COMPRESS = 1024
_LEVEL = 1


class Name(NamedTuple):
    """What Fullstory knows a user by: the uid, or else the id."""

    uid: str | None
    id: str | None

    @property
    def text(self) -> str:
        """The one that there is: the user's key is made of it."""
        return self.uid if self.uid is not None else self.id or ""


class Buckets(Protocol):
    """Where the buckets lie: a table of the store, of one stream."""

    def get(self, bucket: bytes) -> bytes | None:
        """A bucket's content; None where it is empty."""

    def put(self, bucket: bytes, content: bytes) -> None:
        """Replace a bucket's content; nothing is left of it where that is empty."""


class KnownUids:
    """The names of one stream's users. Whoever calls it begins and ends the store's transaction."""

    def __init__(self, buckets: Buckets, key_of: Callable[[str], bytes]) -> None:
        """Take the stream's buckets, and what makes a user's key of its uid or id."""
        self._buckets = buckets
        self._key_of = key_of

    def add(self, packed: bytes) -> None:
        """Enter names, as of `pack`; those that are there already are kept once."""
        by_bucket: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for name in _names(packed):
            by_bucket[_bucket_of(self._key_of(_text(name)))].append(name)
        for bucket, added in sorted(by_bucket.items()):
            self._buckets.put(bucket, _with(self._buckets.get(bucket) or b"", added))

    def remove(self, keys: Iterable[bytes]) -> None:
        """Remove the names of users."""
        for bucket, wanted in _by_bucket(keys):
            content = self._buckets.get(bucket)
            if content is None:
                continue
            names = _all_names(content)
            kept = {name for name in names if self._key_of(_text(name)) not in wanted}
            if len(kept) < len(names):
                self._buckets.put(bucket, _packed(kept) if kept else b"")

    def find(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, Name]]:
        """The names of users, with their keys; nothing comes for one whose name is not known."""
        for bucket, wanted in _by_bucket(keys):
            for name in _all_names(self._buckets.get(bucket) or b""):
                text = _text(name)
                key = self._key_of(text)
                if key in wanted:
                    yield key, Name(text, None) if name[:1] == b"u" else Name(None, text)


class _User(msgspec.Struct):
    uid: str | None = None
    id: str | None = None


_decode_user = msgspec.json.Decoder(_User).decode


def pack(users: Iterable[tuple[str | None, str | None]]) -> bytes:
    """Names, one after the other, of users by their uid and id; of these two the uid, where there is one."""
    return _text_of([_encoded(Name(uid, None if uid else user_id)) for uid, user_id in users])


def name_in(request: bytes) -> bytes:
    """The name in the request of a user."""
    user = _decode_user(request)
    return pack([(user.uid, user.id)])


def _bucket_of(key: bytes) -> bytes:
    """One of 4,096: at ten million users it has some thousands of names."""
    return bytes((key[0], key[1] & 0xF0))


def _by_bucket(keys: Iterable[bytes]) -> Iterator[tuple[bytes, set[bytes]]]:
    by_bucket: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for key in keys:
        by_bucket[_bucket_of(key)].add(key)
    return iter(sorted(by_bucket.items()))


def _encoded(name: Name) -> bytes:
    return ("u" if name.uid is not None else "i").encode() + name.text.encode("utf-8", "surrogatepass")


def _text(name: bytes) -> str:
    return name[1:].decode("utf-8", "surrogatepass")


def _split(content: bytes) -> tuple[bytes, bytes]:
    """A bucket's names that are compressed, and those that were added since."""
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    return content[_LENGTH_BYTES:end], content[end:]


def _all_names(content: bytes) -> set[bytes]:
    compressed, text = _split(content)
    return set(_names(text) + (_names(zlib.decompress(compressed)) if compressed else []))


def _names(text: bytes) -> list[bytes]:
    return text.split(_END)[:-1]


def _with(content: bytes, added: list[bytes]) -> bytes:
    """A bucket's content with more names; some may stand in it twice until it is compressed again."""
    compressed, text = _split(content)
    names = dict.fromkeys(_names(text) + added)
    text = _text_of(names)
    if len(text) >= max(_LEAST_TO_COMPRESS, len(compressed)):
        return _packed(_all_names(content).union(added))
    return len(compressed).to_bytes(_LENGTH_BYTES, "big") + compressed + text


def _packed(names: set[bytes]) -> bytes:
    """A bucket's content, compressed where that is worth it."""
    # In order, names with a beginning in common compress best.
    text = _text_of(sorted(names))
    if len(text) < _LEAST_TO_COMPRESS:
        return bytes(_LENGTH_BYTES) + text
    compressed = zlib.compress(text, _LEVEL)
    return len(compressed).to_bytes(_LENGTH_BYTES, "big") + compressed


def _text_of(names: Iterable[bytes]) -> bytes:
    return b"".join(name + _END for name in names)
