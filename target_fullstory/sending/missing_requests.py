"""Which of a job's requests stand in none of the lists that Fullstory gives of the job.

A list does not name the request of an item, but shows what Fullstory made of it. A user is known by `uid`, or
by `id`. An event is compared as a whole, and what is left by name, time, user and session. Where fewer events
that agree in these are listed than were sent, nobody can tell which are missing: all count as missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from target_fullstory.kinds import Kind

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.decode


class Compared(NamedTuple):
    """A job's requests held against its lists."""

    missing: list[bytes]  # the requests that are in no list
    # The positions of those refused items that are among the requests. One that was not sent, or is listed
    # more often than it was sent, is not.
    known: list[int]
    imported: set[int]  # the positions of the requests that surely are among the imported items


def missing_requests(
    kind: Kind, requests: Sequence[bytes], refused: Sequence[bytes | None], imported: Iterable[Any]
) -> Compared:
    """Which requests of a job are in none of its lists, and which are in which."""
    sent = dict(enumerate(requests))
    items = dict(enumerate(chain((_decode(item or b"null") for item in refused), imported)))
    same, alike = _KEYS[kind]
    known: list[int] = []
    in_fullstory: set[int] = set()
    numbers = _grouped(sent, same, _decode)
    for value, positions in _grouped(items, same).items():
        pairs = list(zip(numbers.get(value, ()), positions, strict=False))
        known += [position for _, position in pairs]
        in_fullstory.update(number for number, position in pairs if position >= len(refused))
        for number, _ in pairs:
            del sent[number]
        # One that comes again, as pages may, must not pass for another that is like it.
        for position in positions if value in numbers else positions[1:]:
            del items[position]
    numbers = _grouped(sent, alike, _decode)
    for value, positions in _grouped(items, alike).items():
        if len(positions) >= len(numbers.get(value, ())):
            # Where one of them was refused, nobody can tell which.
            certain = positions[0] >= len(refused)
            for number, position in zip(numbers.get(value, ()), positions, strict=False):
                known.append(position)
                del sent[number]
                if certain:
                    in_fullstory.add(number)
    known = sorted(position for position in known if position < len(refused))
    return Compared(list(sent.values()), known, in_fullstory)


def refused_requests(
    kind: Kind, requests: Sequence[bytes], refused: Sequence[bytes | None]
) -> set[int] | None:
    """The positions of the requests that were refused; None where an item is none of them as it was sent."""
    same, _ = _KEYS[kind]
    found: set[int] = set()
    numbers = _grouped(dict(enumerate(requests)), same, _decode)
    items = {position: _decode(item or b"null") for position, item in enumerate(refused)}
    for value, positions in _grouped(items, same).items():
        if len(numbers.get(value, ())) < len(positions):
            return None
        found.update(numbers[value][: len(positions)])
    return found


def places_of(kind: Kind, requests: Mapping[int, bytes], items: Sequence[bytes | None]) -> list[int | None]:
    """For each item, the place of the request that it shows as it was sent; None where there is none."""
    same, _ = _KEYS[kind]
    places = {value: iter(found) for value, found in _grouped(requests, same, _decode).items()}
    return [next(places.get(same(_decode(item or b"null")), iter(())), None) for item in items]


def event_content(request: bytes) -> bytes | None:
    """What an event is, however Fullstory shows its request."""
    return _whole_event(_decode(request))


def _grouped(
    items: Mapping[int, Any], key: Callable[[Any], Hashable], decode: Callable[[Any], Any] = lambda item: item
) -> dict[Hashable, list[int]]:
    """The numbers of items by what they are compared by."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number, item in items.items():
        groups[key(decode(item))].append(number)
    return groups


def _user(item: Any) -> Hashable:
    fields = item if isinstance(item, dict) else {}
    name = "uid" if fields.get("uid") else "id"
    return name, str(fields.get(name))


def _event(item: Any) -> Hashable:
    fields = item if isinstance(item, dict) else {}
    session = fields.get("session")
    session_id = session.get("id") or session.get("uid") if isinstance(session, dict) else None
    return (
        str(fields.get("name")),
        _instant(fields.get("timestamp")),
        _user(fields.get("user")),
        str(session_id),
    )


def _whole_event(item: Any) -> bytes | None:
    """An event without what the list of imports leaves out."""
    if not isinstance(item, dict):
        return None
    fields = {name: value for name, value in item.items() if name != "schema"}
    if isinstance(session := fields.get("session"), dict):
        fields["session"] = {name: value for name, value in session.items() if name != "use_most_recent"}
    fields["timestamp"] = _instant(fields.get("timestamp"))
    return _encode({name: value for name, value in fields.items() if value not in (None, {})})


def _instant(timestamp: Any) -> str:
    """The time that a timestamp means, however it is written."""
    try:
        return msgspec.convert(timestamp, datetime).astimezone(timezone.utc).isoformat()
    except (msgspec.ValidationError, OverflowError, ValueError):
        return str(timestamp)


_KEYS: dict[Kind, tuple[Callable[[Any], Hashable], Callable[[Any], Hashable]]] = {
    "users": (_user, _user),
    "events": (_whole_event, _event),
}
"""By kind, what makes an item the same as a request, and what makes it like one."""
