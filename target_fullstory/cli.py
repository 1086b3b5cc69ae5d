"""The executable: a Singer target without a subcommand, an operator's tool with one."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import re
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

# Until the target's own handlers are in place an interrupt ends the process, without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)
# What is imported lives as long as the process: looking for garbage among it is lost time.
gc.disable()

from target_fullstory.lazy_imports import deferred_imports  # noqa: E402

with deferred_imports():
    import singer_sdk  # noqa: F401

import click  # noqa: E402
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError  # noqa: E402
from singer_sdk.plugin_base import _ConfigInput  # noqa: E402
from singer_sdk.singerlib.exceptions import SingerError  # noqa: E402

from target_fullstory.errors import TargetFullstoryError, did_you_mean  # noqa: E402
from target_fullstory.logs import guard_logs, logger  # noqa: E402
from target_fullstory.target import TargetFullstory  # noqa: E402

gc.freeze()
# Plain records are dictionaries without cycles: counting them as possible garbage is lost time.
gc.set_threshold(50_000)
gc.enable()

_COMMANDS = {
    "check": "target_fullstory.commands.check",
    "preview": "target_fullstory.commands.preview",
    "jobs": "target_fullstory.commands.jobs",
    "replay": "target_fullstory.commands.replay",
    "rejects": "target_fullstory.commands.rejects_command",
    "plan": "target_fullstory.commands.plan_command",
    "snapshot": "target_fullstory.commands.snapshot_command",
    "sandbox": "target_fullstory.sandbox.sandbox_command",
}
"""The subcommands' modules, each with a function of the command's name and `_command`."""

_APPROVE = click.Option(
    ["--approve"],
    metavar="PLAN_ID",
    help="Do what the plan of this id shows, though more users vanish or change than max_vanished_percent or "
    "max_changed_percent allows.",
)


class _Executable(click.Group):
    """The subcommands, each imported when it is asked for: a load needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            raise click.UsageError(
                f"There is no command {cmd_name!r}{did_you_mean(cmd_name, _COMMANDS)}", ctx
            )
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), f"{cmd_name}_command")
        return command


def _command() -> click.Group:
    load = TargetFullstory.cli
    guard_logs()

    def callback(**options: Any) -> None:
        command = click.get_current_context().invoked_subcommand
        if command is None:
            TargetFullstory.invoke(**options)
        elif any(options[name] for name in ("file_input", "about", "approve")) or (
            options["config"] != _ConfigInput()
        ):
            raise click.UsageError(f"Options of the command come after its name: {command} --config …")

    return _Executable(
        name=load.name,
        params=[*load.params, _APPROVE],
        callback=callback,
        invoke_without_command=True,
        help=(
            "Load a Singer tap's records into Fullstory as users and events. Reads messages from standard "
            "input (or --input), writes STATE to standard output."
        ),
    )


def main() -> None:
    """Run the command line; every error is one line on stderr and exit code 1."""
    _prepare_streams()
    try:
        code = _command().main(prog_name="target-fullstory", standalone_mode=False)
        _leave(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort:
        _fail("Stopped.")
    except ConfigValidationError as error:
        _fail("The configuration is not valid: " + "; ".join(map(_plain, error.errors)))
    except OSError as error:
        reason = ": ".join(str(part) for part in (error.filename, error.strerror) if part) or str(error)
        _fail(f"A file cannot be read or written: {reason.rstrip('.')}.")
    except (TargetFullstoryError, SingerSDKError, SingerError) as error:
        _fail(str(error))
    except Exception as error:  # noqa: BLE001 - every error is one line
        if (line := getattr(error, "lineno", None)) is not None:
            # Lines of input have their own error; this one is singer-sdk's, from the configuration.
            _fail(f"A configuration file is not JSON, see its line {line}.")
        # Its text may hold a record's contents, which belong in no log.
        logger.debug("Unexpected", exc_info=True)
        _fail(f"Unexpected {type(error).__name__}; set TARGET_FULLSTORY_LOGLEVEL=debug and report it.")


def _plain(problem: str) -> str:
    """What singer-sdk finds wrong with a setting: its name first, and no value of a wrong type."""
    told, _, place = problem.rpartition(" in config")
    name = ".".join(re.findall(r"\['?(.*?)'?\]", place))
    return f"{name} " + re.sub(r"^.* is not of type ", "is to be of type ", told, flags=re.DOTALL)


def _prepare_streams() -> None:
    """Keep the descriptors of closed streams from the next file, and print UTF-8 whatever the locale is."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def _fail(message: str) -> None:
    logger.error("%s", " ".join(message.split()))
    _leave(1)


def _leave(code: int) -> NoReturn:
    """Exit now: a thread that still sleeps between two attempts must not hold up the end."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None where it is closed
            stream.flush()
    os._exit(code)
