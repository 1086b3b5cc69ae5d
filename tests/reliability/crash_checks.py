"""What a sandbox and the files hold after a trial, compared with the input; what is wrong is told."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability.crash_input import Input
from tests.reliability.crash_tally import Tally

INCOMPLETE = "job_incomplete"


@dataclass
class Rejects:
    """What the rejects files of one organization's runs hold.

    Attributes:
        numbers: Events and calls, with the codes of their rejection.
        users: The properties of refused updates, by user, with all values.
        deletions: Users whose deletion was refused, with the code.
    """

    numbers: dict[int, set[str]] = field(default_factory=dict)
    users: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    deletions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, lines: Iterable[str], wanted: Input) -> Rejects:
        """Take those that are of this input: others' have other numbers and users."""
        found = cls()
        for one in map(json.loads, lines):
            request = one.get("request") or {}
            subject = one.get("record") or request.get("body", request)
            if one["kind"] in {"users", "user_deletions"}:
                uid = str(subject.get("uid"))
                if uid[:1] != wanted.prefix and uid not in wanted.unknown:
                    continue
                if one["kind"] == "user_deletions":
                    found.deletions[uid] = one["code"]
                else:
                    found.users.setdefault(uid, set()).update(subject.get("properties", {}).items())
                continue
            number = int(subject.get("properties", subject)["number"])
            if wanted.owns(number):
                found.numbers.setdefault(number, set()).add(one["code"])
        return found

    @property
    def incomplete(self) -> set[int]:
        return {number for number, codes in self.numbers.items() if INCOMPLETE in codes}


class Checks:
    """Compares, and collects what is wrong."""

    def __init__(self, wanted: Input, rejects: Rejects, tally: Tally, *, lies: bool) -> None:
        """Compare one organization's input; `lies` where jobs may have lied."""
        self.problems: list[str] = []
        self._input = wanted
        self._rejects = rejects
        self._tally = tally
        self._lies = lies

    def _wrong(self, what: str, which: Any) -> int:
        """Tell of a problem where there is one; returns how many are concerned."""
        if which:
            text = str(sorted(which) if isinstance(which, set | frozenset) else which)
            self.problems.append(f"{what}: {text[:2000]}")
        return len(which)

    def users(self, users: dict[str, dict[str, int]]) -> None:
        wanted, tally = self._input.users, self._tally
        tally.users += len(users)
        tally.users_wrong += self._wrong("users who are not to be there", set(users) - set(wanted))
        wrong = {
            uid: (users.get(uid), values)
            for uid, values in wanted.items()
            if users.get(uid) != values and not self._is_told(uid, users.get(uid, {}), values)
        }
        tally.users_wrong += self._wrong("users not in their last version (held, wanted)", wrong)

    def _is_told(self, uid: str, held: dict[str, int], wanted: dict[str, int]) -> bool:
        """Whether all that a user lacks is in a rejects file: a lying job has not imported it."""
        lacks = {one for one in wanted.items() if one not in held.items()}
        return self._lies and lacks <= self._rejects.users.get(uid, set())

    def events(self, events: list[dict[str, Any]], excused: set[int]) -> None:
        """The events that are there; those excused may be there twice."""
        wanted, tally = self._input, self._tally
        held = Counter(int(event["properties"]["number"]) for event in events)
        named = Counter([*wanted.events, *wanted.loose])
        told = self._rejects.incomplete if self._lies else set()
        tally.incomplete += len(self._rejects.incomplete)
        tally.incomplete_there += len(self._rejects.incomplete & held.keys())
        tally.events_lost += self._wrong("events are lost", set(named - held) - told)
        tally.events_twice += self._wrong("events of deleted users are there", held.keys() & wanted.gone)
        surplus = held - named
        for number in wanted.loose:
            tally.events_loose_twice += surplus.pop(number, 0)
        for number in excused & surplus.keys():
            tally.events_excused += surplus.pop(number)
        tally.events_twice += self._wrong("events are there twice", set(surplus) - wanted.gone)
        tally.events += held.total()
        tally.events_gone += len(wanted.gone)

    def calls(self, events: list[dict[str, Any]], may_repeat: int) -> None:
        """What is guaranteed: each at least once, and in order: from one restart to the next none is skipped.

        Between two restarts each follows the one before it; a restart goes back, by no more than what
        came after the STATE it starts from; so none is carried out before all before it have been.
        """
        place = {number: index for index, number in enumerate(self._input.calls)}
        made = [place[int(event["properties"]["number"])] for event in events]
        skipped: set[int] = set()
        steps_back = 0
        for before, after in zip([-1, *made], made, strict=False):
            skipped.update(range(before + 1, after))
            steps_back += after <= before
        if made[-1:] != [len(place) - 1] and place:
            skipped.add(len(place) - 1)
        self._tally.calls_lost += self._wrong(f"calls were skipped, in {made}", skipped)
        # A call is repeated under its key within a run, and that is recognised.
        if steps_back > may_repeat:
            self.problems.append(f"calls were repeated without a restart: {made}")
        self._tally.calls += len(place)
        self._tally.calls_repeated += len(made) - len(place)

    def rejects(self, *, faulty_deletions: set[str], restarts: int) -> None:
        wanted, tally = self._input, self._tally
        found = {number for number, codes in self._rejects.numbers.items() if codes != {INCOMPLETE}}
        lacking = wanted.rejects - found
        if self._lies:
            lacking -= self._rejects.incomplete
        tally.rejects_lost += self._wrong("refused, and in no rejects file", lacking)
        self._wrong("in the rejects files, and not to be refused", found - wanted.rejects)
        if not self._lies:
            self._wrong(f"rejected as {INCOMPLETE}, and no job has lied", self._rejects.incomplete)
            self._wrong("users rejected, and none was to be", set(self._rejects.users))
        uids = set(self._rejects.deletions)
        self._wrong("codes of deletions", set(self._rejects.deletions.values()) - {"user_not_found"})
        # A 404 behind an attempt without a clear answer counts as delivered.
        missing = wanted.unknown - uids - faulty_deletions
        tally.rejects_lost += self._wrong("deletions of nobody are in no rejects file", missing)
        # After a restart deletions come again, and the users are gone.
        repeated = uids - wanted.unknown
        self._wrong("deletions refused", repeated - (wanted.deleted if restarts else set()))
        tally.rejects += len(found) + len(uids)
        tally.deletions += wanted.deletions
        tally.deletions_repeated += len(repeated)


def lines_of(directory: Path, pattern: str) -> Iterator[str]:
    """The whole lines of some files: a kill may leave half a line at a file's end."""
    for path in sorted(directory.glob(pattern)):
        yield from (line for line in path.read_text().splitlines() if line.endswith("}"))


def secrets_in(text: str, secrets: Iterable[str]) -> set[str]:
    """The secrets that stand in a text, as they are or in any way of writing them in JSON."""
    plain = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    plain = re.sub(r"\\+/", "/", plain)
    return {secret for secret in secrets if secret in text or secret in plain}
