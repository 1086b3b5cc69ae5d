"""The taps whose output is recorded here: what they are, who makes them, what they read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Tap:
    """A tap as PyPI has it."""

    package: str
    version: str
    maker: str
    executable: str
    python: str = "3.11"
    also: tuple[str, ...] = ()
    """What else has to be installed for it to start today."""


WISE = "Wise (PipelineWise)"
STITCH = "Stitch (singer-io)"
OLD_SETUPTOOLS = ("setuptools<81",)

TAPS = {
    tap.package: tap
    for tap in (
        Tap("meltanolabs-tap-postgres", "0.10.0", "MeltanoLabs", "tap-postgres"),
        Tap("pipelinewise-tap-postgres", "2.1.0", WISE, "tap-postgres"),
        Tap("pipelinewise-tap-mysql", "1.6.0", WISE, "tap-mysql"),
        Tap("tap-mysql", "1.17.7", STITCH, "tap-mysql"),
        Tap("tap-gitlab", "1.0.1", STITCH, "tap-gitlab"),
        Tap("tap-rest-api", "0.2.22", "Anelen", "tap-rest-api"),
        Tap("tap-rest-api-msdk", "1.4.2", "Widen", "tap-rest-api-msdk", also=OLD_SETUPTOOLS),
        Tap("tap-dbf", "0.1.25", "Reservoir Data", "tap-dbf"),
        Tap("tap-jsonl", "0.3.1", "Luca Capra", "tap-jsonl"),
        Tap("tap-spreadsheets", "1.1.2", "Luca Capra", "tap-spreadsheets"),
        Tap("tap-feed", "1.1.1", "Jon Watson", "tap-feed", also=OLD_SETUPTOOLS),
        Tap("tap-dimdate", "0.1.0", "Neil McGuigan", "tap-dimdate", also=OLD_SETUPTOOLS),
        Tap(*("tap-test-data-generator", "1.4.0", "Eric Lebail", "tap-test-data-generator"), python="3.9"),
        Tap("plinxore-tap-diffgen", "0.1.3", "Plinxore", "tap-diffgen"),
    )
}
