"""The options of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["ARCHITECT", "ADMIN", "USER", "VIEW_ONLY"]


@dataclass(frozen=True)
class SandboxOptions:
    """The options of one sandbox."""

    db: str | Path | None = None  # SQLite file that holds the state; None to keep it in memory
    job_seconds: float = 0.2  # how long a batch job stays `PROCESSING` before its items are imported
    rate_limit: float | None = None  # requests per second, and the burst allowed; None for no limit
    fail_rate: float = 0.0  # share of the `/v2` calls, 0 to 1, that meet an injected fault
    seed: int = 0  # makes the faults and the shuffling of jobs repeatable
    api_key: str | None = None  # the only key accepted; None for any key
    role: Role = "ARCHITECT"  # of the key, which decides what it may do
    max_body_bytes: int = 32 * 1024 * 1024  # a longer request body is answered with 413
    shuffle_jobs: bool = False  # jobs in progress at once finish in any order, as they may at Fullstory
    page_size: int = 100  # results on one page of a listing
