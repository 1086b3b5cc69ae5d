"""A MariaDB server of the recorder's own: a temporary data directory, a free loopback port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@contextmanager
def running_mariadb(script: str) -> Iterator[int]:
    """A server that has run this SQL; yields its port. The account is `tap`, without a password."""
    found = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    assert all(found), "MariaDB is not installed: apt-get install mariadb-server-core mariadb-client"
    server, installer = (str(path) for path in found)
    with tempfile.TemporaryDirectory(prefix="mariadb-") as name:
        directory = Path(name)
        data = f"--datadir={directory / 'data'}"
        subprocess.run(
            [installer, "--no-defaults", data, "--user=root", "--skip-test-db"],
            capture_output=True,
            check=True,
            timeout=_START_SECONDS,
        )
        init = directory / "init.sql"
        # The server reads one statement a line.
        statements = [" ".join(part.split()) for part in script.split(";")]
        init.write_text("".join(f"{line};\n" for line in statements if line))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        log = directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(server, "--no-defaults", data, "--user=root", f"--port={port}"),
                    *("--bind-address=127.0.0.1", f"--socket={directory / 'socket'}"),
                    *(f"--init-file={init}", "--character-set-server=utf8mb4"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait(process, port, log)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_SECONDS)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while "ready for connections" not in log.read_text(errors="replace"):
        story = f"MariaDB does not start on port {port}: {log.read_text(errors='replace')}"
        assert process.poll() is None, story
        assert time.monotonic() < deadline, story
        time.sleep(0.1)
