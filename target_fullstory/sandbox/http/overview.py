"""`GET /`: what the sandbox offers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from target_fullstory.sandbox.operations.batch_operations import (
    MAX_BATCH_REQUESTS,
    MAX_JOBS_IN_PROGRESS,
    MAX_OPERATIONS_IN_PROGRESS,
)
from target_fullstory.sandbox.sandbox_options import SandboxOptions

_OWN = {
    "/sandbox/stats": "how many users, events, jobs and requests there are",
    "/sandbox/events": "the events as they are stored; ?uid= &name= &limit= &page_token=",
    "/sandbox/requests": "the latest requests received; ?limit=",
    "/sandbox/reset": "forget everything",
}


def overview(options: SandboxOptions, calls: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Tell the calls, each a method and a path, and the limits."""
    api, own = [], {}
    for method, path in calls:
        if path in _OWN:
            own[f"{method} {path}"] = _OWN[path]
        else:
            api.append(f"{method} {path}")
    return {
        "about": "A local Fullstory Server API. Not a product of Fullstory.",
        "authorization": f"Basic <{'any key' if options.api_key is None else 'the key given as --api-key'}>",
        "role": options.role,
        "api": api,
        "sandbox": own,
        "limits": {
            "requests_in_a_batch": MAX_BATCH_REQUESTS,
            "jobs_in_progress": MAX_JOBS_IN_PROGRESS,
            "requests_in_unfinished_jobs": MAX_OPERATIONS_IN_PROGRESS,
            "body_bytes": options.max_body_bytes,
            "requests_per_second": options.rate_limit,
            "share_of_calls_with_a_fault": options.fail_rate,
        },
    }
