"""The executable: as a process of its own, or in a fork of one that has imported it already.

A fork takes a hundredth of a second where a start takes a third of one, and is a process all the same: it has
its own signals, environment, directory, threads and exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import target_fullstory

EXECUTABLE = [sys.executable, "-m", "target_fullstory"]
_LATE = ["uvicorn.protocols.http.h11_impl", "uvicorn.loops.auto", "anyio._backends._asyncio"]
"""What the sandbox imports when it starts."""


def _modules() -> Iterable[str]:
    found = pkgutil.walk_packages(target_fullstory.__path__, "target_fullstory.")
    return (module.name for module in found if not module.name.endswith("__main__"))


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["target_fullstory.cli", *_modules(), *_LATE, __name__, "pytest"])


def start(
    arguments: Sequence[str], data: bytes = b"", *, directory: Path, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Start the executable as a user does."""
    done = subprocess.run(
        [*EXECUTABLE, *arguments],
        input=data,
        capture_output=True,
        timeout=timeout,
        check=False,
        cwd=directory,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    return _completed(arguments, done.returncode, done.stdout, done.stderr)


def fork(
    arguments: Sequence[str],
    data: bytes = b"",
    *,
    directory: Path,
    timeout: float = 60,
    environment: Mapping[str, str] = os.environ,
    first: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the executable's `main` in a fork, and `first` before it."""
    pipes = [_FORKS.Pipe(duplex=False) for _ in range(3)]
    (stdin, feed), (out, stdout), (err, stderr) = pipes
    process = _FORKS.Process(
        target=_run, args=(list(arguments), (stdin, stdout, stderr), str(directory), dict(environment), first)
    )
    process.start()
    for end in (stdin, stdout, stderr):
        end.close()
    with ThreadPoolExecutor(3) as threads:
        threads.submit(_write, feed, data)
        printed = [threads.submit(_read, end) for end in (out, err)]
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
    code = process.exitcode
    assert code is not None
    return _completed(arguments, code, *(one.result() for one in printed))


def _completed(
    arguments: Sequence[str], code: int, out: bytes, err: bytes
) -> subprocess.CompletedProcess[str]:
    done = subprocess.CompletedProcess(arguments, code, out.decode(), err.decode())
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _write(end: Connection, data: bytes) -> None:
    try:
        with end, open(end.fileno(), "wb", closefd=False) as stream:
            stream.write(data)
    except BrokenPipeError:
        """It ended before it had read everything."""


def _read(end: Connection) -> bytes:
    with end, open(end.fileno(), "rb", closefd=False) as stream:
        return stream.read()


def _run(
    arguments: list[str],
    standard: tuple[Connection, ...],
    directory: str,
    environment: dict[str, str],
    first: Callable[[], None] | None,
) -> None:
    """In the fork: take its standard streams, directory and environment, and never return."""
    for number, end in enumerate(standard):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["target-fullstory", *arguments]
    if first is not None:
        first()
    # Not imported above: that takes SIGINT from pytest.
    import_module("target_fullstory.cli").main()
