"""The executable: a Singer target without a subcommand, an operator's tool with one."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

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
    except ConfigValidationError as error:
        _fail("The configuration is not valid: " + "; ".join(error.errors))
    except TargetFullstoryError as error:
        _fail(str(error))
    except json.JSONDecodeError as error:
        # Lines of input have their own error; this one is from reading the configuration.
        _fail(f"A configuration file is not JSON: {error.msg} in line {error.lineno}.")
    except OSError as error:
        _fail(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.")
    except (SingerSDKError, SingerError) as error:
        _fail(str(error))
    except Exception as error:
        # Its text may hold a record's contents, which belong in no log.
        logger.debug("Unexpected", exc_info=True)
        _fail(
            f"Unexpected {type(error).__name__}; set TARGET_FULLSTORY_LOGLEVEL=debug and report it."
        )


def _fail(message: str) -> None:
    logger.error("%s", " ".join(message.split()))
    logging.shutdown()
    sys.stdout.flush()
    # A thread that still sleeps between two attempts must not hold up the end.
    os._exit(1)
