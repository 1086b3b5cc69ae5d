"""The uids of a mirror's users, against a plain dictionary."""

from __future__ import annotations

from random import Random
from uuid import UUID

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.snapshot.known_uids import KnownUids, Name, pack


class Memory(dict[bytes, bytes]):
    """Buckets in memory."""

    def put(self, bucket: bytes, content: bytes) -> None:
        if content:
            self[bucket] = content
        else:
            self.pop(bucket, None)


def key_of(user: str) -> bytes:
    return xxhash.xxh3_64_digest(user.encode("utf-8", "surrogatepass"), 7)


def crowded(user: str) -> bytes:
    """Keys of which many share a bucket, and some a key."""
    return bytes([len(user) % 2, 0]) + key_of(user)[:6]


texts = st.one_of(st.text(min_size=1, max_size=6), st.integers(0, 30).map(lambda n: f"user_{n:0400}"))
names = st.one_of(texts.map(lambda text: Name(text, None)), texts.map(lambda text: Name(None, f"id {text}")))


@given(
    st.lists(st.tuples(st.booleans(), st.lists(names, max_size=10)), max_size=12), st.lists(names, max_size=5)
)
def test_what_is_entered_is_found_until_it_is_removed(
    changes: list[tuple[bool, list[Name]]], others: list[Name]
) -> None:
    known, model = KnownUids(Memory(), crowded), dict[bytes, Name]()
    for entered, some in changes:
        if entered:
            known.add(pack(some))
            model |= {crowded(name.text): name for name in some}
        else:
            known.remove([crowded(name.text) for name in some])
            for name in some:
                model.pop(crowded(name.text), None)
        assert dict(known.find(model)) == model
    wanted = [crowded(name.text) for name in others]
    assert dict(known.find(wanted)) == {key: model[key] for key in wanted if key in model}


def test_nothing_is_left_of_those_removed() -> None:
    memory = Memory()
    known = KnownUids(memory, key_of)
    some = [Name(f"user_{n}", None) for n in range(3000)]
    known.add(pack(some))
    assert memory
    known.remove([key_of(name.text) for name in some])
    assert not memory


def test_the_size_grows_with_the_users_and_not_with_the_runs() -> None:
    random = Random(2)
    numbered = [Name(f"user_{random.randrange(10**8)}", None) for _ in range(30_000)]
    uuids = [Name(str(UUID(int=random.getrandbits(128))), None) for _ in range(30_000)]
    for some, most in ((numbered, 20), (uuids, 50)):
        memory = Memory()
        known = KnownUids(memory, key_of)
        for _night in range(4):
            for begin in range(0, len(some), 10_000):
                known.add(pack(some[begin : begin + 10_000]))
        size = sum(map(len, memory.values())) / len(some)
        assert size < most, size


def test_a_user_with_uid_and_id_is_known_by_the_uid() -> None:
    known = KnownUids(Memory(), key_of)
    known.add(pack([("u1", "5"), (None, "6")]))
    found = dict(known.find([key_of("u1"), key_of("5"), key_of("6")]))
    assert found == {key_of("u1"): Name("u1", None), key_of("6"): Name(None, "6")}
