"""Running a sandbox: as a command, inside a process, with a file, and without its packages."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions


@pytest.fixture
def command():
    """Starts the command; its process and URL."""
    processes = []

    def starting(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "target_fullstory.sandbox", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, process.stderr.read()
        return process, line.split()[-1]

    yield starting
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_url_and_ends_well_on_a_signal(command, connect, sign):
    process, url = command("--api-key", "secret", "--role", "ADMIN")
    assert connect(url, "Basic secret").get("/me")["role"] == "ADMIN"
    process.send_signal(sign)
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout, stderr) == (0, "", "")


def test_a_port_that_is_taken_is_one_clear_line(command):
    _, url = command()
    port = url.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "target_fullstory.sandbox", "--port", port],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1
    assert "in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("This is no database. " * 100)
    for path in (file, tmp_path / "missing" / "sandbox.db"):
        result = subprocess.run(
            [sys.executable, "-m", "target_fullstory.sandbox", "--port", "0", "--db", str(path)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert result.returncode == 1
        assert str(path) in result.stderr
        assert "Traceback" not in result.stderr


def test_a_file_outlives_a_kill_with_its_users_keys_and_unfinished_jobs(command, connect, tmp_path):
    options = ("--db", str(tmp_path / "sandbox.db"), "--job-seconds", "1")
    process, url = command(*options)
    api = connect(url)
    user = api.post("/v2/users", {"uid": "u1"}, key="user")
    job = api.post("/v2/users/batch", {"requests": [{"uid": "u2"}]}, key="job")
    process.kill()
    process.wait(10)
    _, url = command(*options)
    api = connect(url)
    assert api.post("/v2/users", {"uid": "u1"}, key="user") == user
    assert api.post("/v2/users/batch", {"requests": [{"uid": "u2"}]}, key="job") == job
    assert api.finished("users", job["job"]["id"])["imports"] == 1
    stats = api.get("/sandbox/stats")
    assert (stats["users"], stats["jobs"]) == (2, 1)


def test_inside_a_process_it_counts_what_it_holds_also_after_its_end(connect, tmp_path):
    options = SandboxOptions(db=tmp_path / "sandbox.db", job_seconds=0)
    sandbox = Sandbox(options)
    with pytest.raises(RuntimeError, match="context"):
        _ = sandbox.url
    with sandbox:
        api = connect(sandbox.url)
        api.post("/v2/events", {"name": "Seen", "user": {"uid": "u1"}})
        api.finished("users", api.batch("users", [{"uid": "u1"}]))
        assert sandbox.counts() == {"users": 1, "events": 1, "jobs": 1}
    assert sandbox.counts() == {"users": 1, "events": 1, "jobs": 1}
    with Sandbox(options) as again:
        assert again.counts() == {"users": 1, "events": 1, "jobs": 1}


def test_two_sandboxes_share_nothing(connect):
    with Sandbox() as first, Sandbox() as second:
        connect(first.url).post("/v2/users", {"uid": "u1"})
        assert (first.counts()["users"], second.counts()["users"]) == (1, 0)


WITHOUT_PACKAGES = """
import sys
sys.modules[{package!r}] = None
import target_fullstory.sandbox
assert "uvicorn.config" not in sys.modules and "starlette.applications" not in sys.modules
from target_fullstory.sandbox.sandbox_command import sandbox_command
try:
    with target_fullstory.sandbox.Sandbox():
        pass
except target_fullstory.sandbox.SandboxNotInstalledError as error:
    assert isinstance(error, ImportError)
    print(error)
sandbox_command(["--port", "0"])
"""


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_its_packages_it_can_be_imported_and_says_what_to_install(package):
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES.format(package=package)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    for output in (result.stdout, result.stderr):
        assert package in output
        assert "pip install 'target-fullstory[sandbox]'" in output
        assert "Traceback" not in output
    assert result.returncode == 1
