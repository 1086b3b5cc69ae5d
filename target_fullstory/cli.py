"""The executable: a Singer target without a subcommand, an operator's tool with one."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any, NoReturn

import click
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError
from singer_sdk.singerlib.exceptions import SingerError

from target_fullstory.errors import TargetFullstoryError
from target_fullstory.sandbox.command import sandbox_command
from target_fullstory.target import TargetFullstory

logger = logging.getLogger("target-fullstory")


def _command() -> click.Group:
    load = TargetFullstory.cli

    def callback(**options: Any) -> None:
        if click.get_current_context().invoked_subcommand is None:
            TargetFullstory.invoke(**options)

    group = click.Group(
        name=load.name,
        params=load.params,
        callback=callback,
        invoke_without_command=True,
        help=(
            "Load a Singer tap's records into Fullstory as users and events. Reads messages from standard "
            "input (or --input), writes STATE to standard output."
        ),
    )
    group.add_command(sandbox_command)
    return group


def main() -> None:
    """Run the command line; every error is one line on stderr and exit code 1."""
    try:
        _command().main(prog_name="target-fullstory", standalone_mode=True)
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else 0)
    except ConfigValidationError as error:
        _fail("The configuration is not valid: " + "; ".join(error.errors))
    except TargetFullstoryError as error:
        _fail(str(error))
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.strerror else str(error)
        _fail(f"A file cannot be read or written: {reason}.")
    except (SingerSDKError, SingerError) as error:
        _fail(str(error))
    except Exception as error:
        if (line := getattr(error, "lineno", None)) is not None:
            # Lines of input have their own error; this one is singer-sdk's, from the configuration.
            _fail(f"A configuration file is not JSON, see its line {line}.")
        # Its text may hold a record's contents, which belong in no log.
        logger.debug("Unexpected", exc_info=True)
        _fail(
            f"Unexpected {type(error).__name__}; set TARGET_FULLSTORY_LOGLEVEL=debug and report it."
        )


def _fail(message: str) -> None:
    logger.error("%s", " ".join(message.split()))
    _leave(1)


def _leave(code: int) -> NoReturn:
    """Exit now: a thread that still sleeps between two attempts must not hold up the end."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
