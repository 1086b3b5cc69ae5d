"""A local Fullstory Server API, for trying things out and for tests.

It needs the extra `sandbox`; importing this module does not, using it without raises
`SandboxNotInstalledError`.
"""

from __future__ import annotations

from target_fullstory.sandbox.options import Role, SandboxOptions
from target_fullstory.sandbox.rules.refusals import SandboxNotInstalledError
from target_fullstory.sandbox.server import Sandbox, create_app, serve

__all__ = [
    "Role",
    "Sandbox",
    "SandboxNotInstalledError",
    "SandboxOptions",
    "create_app",
    "serve",
]
