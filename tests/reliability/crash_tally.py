"""What happened in the crash test's trials, and the table of it for docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What happened in a trial, or in several."""

    trials: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    kills_with_progress: int = 0
    runs: int = 0
    runs_revoked: int = 0
    runs_full: int = 0
    runs_given_up: int = 0
    runs_of_second: int = 0
    unanswered_jobs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lies: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    replayed: int = 0
    webhook_requests: int = 0
    records: int = 0
    users: int = 0
    users_wrong: int = 0
    deletions: int = 0
    deletions_repeated: int = 0
    events: int = 0
    events_lost: int = 0
    events_twice: int = 0
    events_gone: int = 0
    events_loose_twice: int = 0
    events_excused: int = 0
    calls: int = 0
    calls_lost: int = 0
    calls_repeated: int = 0
    rejects: int = 0
    rejects_lost: int = 0
    incomplete: int = 0
    incomplete_there: int = 0
    unfinished_told: int = 0
    unchanged: int = 0
    refusals: int = 0
    confirmed_again: int = 0
    tracebacks: int = 0
    secrets: int = 0
    secrets_looked_for: int = 0
    strangers: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return self.signals.total()

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def table(self, head: str) -> Iterator[str]:
        """The lines of a Markdown table."""
        yield f"| {head} | |"
        yield "|---|---|"
        for what, figure in self._rows():
            yield f"| {what} | {figure} |"

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "kills survived", f"{self.kills:,}, in {self.trials} inputs: {_each(self.signals)}"
        yield "of these with a STATE written before", f"{self.kills_with_progress:,}"
        second = f"{self.runs_of_second} of a second organization in the same `output_dir`"
        revoked = f"{self.runs_revoked} with a key that is refused, {self.runs_full} with a full disk"
        ended = f"{self.runs_given_up} that ended with an error"
        if self.unchanged:
            second, revoked = "each with settings of its own", f"{self.runs_full} with a full disk"
        yield "runs of the target", f"{self.runs:,}: {second}, {revoked}, {ended}"
        yield "jobs that were accepted, but whose answer no run read", f"{self.unanswered_jobs:,}"
        yield "requests to the API", f"{self.requests:,}"
        yield "responses given again for a known key", f"{self.replayed:,}"
        yield "faults injected", f"{self.faults.total():,} of {len(self.faults)} kinds: {_each(self.faults)}"
        yield "jobs that lied", f"{self.lies.total():,}: {_each(self.lies)}"
        yield "records in the inputs", f"{self.records:,}"
        yield "users compared, wrong", f"{self.users:,}, {self.users_wrong}"
        excused = self.events_excused + self.events_loose_twice
        twice = f"{self.events_twice}; in cases listed above {excused} more were there twice"
        yield "events compared, lost, twice", f"{self.events:,}, {self.events_lost}, {twice}"
        if self.calls:
            yield (
                "calls compared, lost, carried out again after a restart",
                f"{self.calls:,}, {self.calls_lost}, {self.calls_repeated}",
            )
        yield (
            "refused records compared, missing in the rejects files",
            f"{self.rejects:,}, {self.rejects_lost}",
        )
        yield (
            "records of lying jobs in the rejects files (`job_incomplete`), of these imported all the same",
            f"{self.incomplete:,}, {self.incomplete_there}",
        )
        if self.unchanged:
            yield "records of whole runs held back as `unchanged`", f"{self.unchanged:,}"
            yield "items of jobs that were refused for some nights, and then accepted", f"{self.refusals:,}"
            yield "confirmed users sent again, all after a kill", f"{self.confirmed_again}"
        yield "tracebacks and unexpected errors in the logs", f"{self.tracebacks}"
        yield (
            "secrets found in logs, STATEs and files",
            f"{self.secrets}, of {self.secrets_looked_for:,} places looked at",
        )
        yield "requests sent to the address of a redirect", f"{self.strangers}"


def _each(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
