"""Records anew, on purpose; the package's docstring says when that is legitimate."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.recorded.case import Json
from tests.recorded.cases import all_cases
from tests.recorded.corpus import PATH, difference, load, save, without_wording, wordings
from tests.recorded.fullstory import FakeFullstory
from tests.recorded.replay import play


def main(what: str) -> int:
    """Compare, or record `messages` or `everything`; returns the exit code."""
    known = load() if PATH.exists() else {"wordings": {}, "cases": {}}
    made: Json = {}
    began = time.monotonic()
    with FakeFullstory() as fullstory, TemporaryDirectory() as directory:
        for case in all_cases():
            outcome = play(case, fullstory, Path(directory))
            made[case.name] = {"digest": case.digest, "outcome": outcome}
    print(f"{len(made)} cases played in {time.monotonic() - began:.1f} s", file=sys.stderr)
    if what == "everything":
        save({"wordings": wordings(), "cases": made})
        return 0
    same = known["wordings"] == wordings()
    if what == "messages":
        for name, entry in made.items():
            then = known["cases"].get(name)
            alike = then and then["digest"] == entry["digest"]
            if not alike or without_wording(then["outcome"]) != without_wording(entry["outcome"]):
                print(f"{name}: more than wording differs; nothing is recorded", file=sys.stderr)
                return 1
        save({"wordings": wordings(), "cases": made})
        return 0
    found = 0
    for case in all_cases():
        entry = known["cases"].get(case.name)
        told = difference(case, entry, made[case.name]["outcome"], same_wordings=same)
        if told is not None:
            found += 1
            print(told)
    return 1 if found else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments not in ([], ["messages"], ["everything"]):
        sys.exit("python -m tests.recorded [messages | everything]")
    sys.exit(main(arguments[0] if arguments else "compare"))
