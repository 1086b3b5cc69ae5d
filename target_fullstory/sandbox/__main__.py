"""Lets `python -m target_fullstory.sandbox` run a sandbox."""

from __future__ import annotations

from target_fullstory.sandbox.sandbox_command import sandbox_command

if __name__ == "__main__":
    sandbox_command()
