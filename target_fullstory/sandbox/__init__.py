"""A local Fullstory Server API, for trying things out and for tests.

It needs the extra `sandbox`: without it, starting a sandbox raises `SandboxNotInstalledError`.
"""

from __future__ import annotations

from target_fullstory.sandbox.sandbox_options import Role, SandboxOptions
from target_fullstory.sandbox.server import Sandbox, SandboxNotInstalledError, create_app, serve

__all__ = ["Role", "Sandbox", "SandboxNotInstalledError", "SandboxOptions", "create_app", "serve"]
