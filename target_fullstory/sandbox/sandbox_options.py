"""The options of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["ARCHITECT", "ADMIN", "USER", "VIEW_ONLY"]


@dataclass(frozen=True)
class SandboxOptions:
    """The options of one sandbox.

    Attributes:
        db: SQLite file that holds the state; None to keep it in memory.
        job_seconds: How long a batch job stays `PROCESSING` before it is worked on.
        rate_limit: Requests per second (and the burst allowed); None for no limit.
        fail_rate: Share of the `/v2` calls, 0 to 1, that meet an injected fault.
        seed: Makes the faults and the shuffling of jobs repeatable.
        api_key: The only key accepted; None for any key.
        role: Role of the key, which decides what it may do.
        max_body_bytes: A longer request body is answered with 413.
        shuffle_jobs: Jobs in progress at the same time finish in any order, as they may at Fullstory.
        page_size: Results on one page of a listing.
    """

    db: str | Path | None = None
    job_seconds: float = 0.2
    rate_limit: float | None = None
    fail_rate: float = 0.0
    seed: int = 0
    api_key: str | None = None
    role: Role = "ARCHITECT"
    max_body_bytes: int = 32 * 1024 * 1024
    shuffle_jobs: bool = False
    page_size: int = 100
