"""`agent-exporter profile`, on real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent_exporter.cli import main, profile

BUSY = """
def burn_the_midnight_oil():
    while True:
        sum(range(1000))

print("ready", flush=True)
burn_the_midnight_oil()
"""


def run(*arguments):
    """Call the command as a user does."""
    return CliRunner().invoke(main, ["profile", *map(str, arguments)])


@pytest.fixture
def spy():
    """Give py-spy's path; without it tests are skipped, but fail in CI."""
    found = profile._py_spy()
    if found is None and not os.environ.get("CI"):
        pytest.skip("py-spy is not installed")
    return found


@pytest.fixture
def start():
    """Start a Python program and wait until it says that it is ready."""
    started = []

    def program(text):
        process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        started.append(process)
        process.stdout.readline()
        return process

    yield program
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def busy(spy, start):
    """Run a program that does nothing but one function; skip where the kernel lets nobody look into it."""
    process = start(BUSY)
    tried = subprocess.run([spy, "dump", "--pid", str(process.pid)], capture_output=True, text=True, check=False)
    if tried.returncode and "permi" in tried.stderr.lower():
        pytest.skip("the kernel does not permit ptrace here")
    return process.pid


def test_a_flame_graph_shows_what_is_busy(busy, tmp_path):
    """The SVG has a frame of the function that burns the processor."""
    file = tmp_path / "busy.svg"

    result = run(busy, "--seconds", 1, "--output", file)

    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{file} (open it with any browser)\n"
    titles = [title.text for title in ET.parse(file).iter("{http://www.w3.org/2000/svg}title")]
    assert any("burn_the_midnight_oil" in title for title in titles)


def test_speedscope_shows_what_is_busy(busy, tmp_path):
    """Most samples of the speedscope file are inside the function that burns the processor."""
    file = tmp_path / "busy.json"

    result = run(busy, "--seconds", 1, "--format", "speedscope", "--output", file)

    assert result.exit_code == 0, result.stderr
    told = json.loads(file.read_text())
    frames = [frame["name"] for frame in told["shared"]["frames"]]
    samples = [{frames[index] for index in sample} for each in told["profiles"] for sample in each["samples"]]
    assert sum("burn_the_midnight_oil" in sample for sample in samples) > len(samples) / 2


def test_the_file_is_named_after_the_process(busy, tmp_path, monkeypatch):
    """Without --output the file lies in the current folder."""
    monkeypatch.chdir(tmp_path)

    assert run(busy, "--seconds", 1).exit_code == 0
    assert [f"profile-{busy}.svg"] == [file.name for file in tmp_path.iterdir()]


def test_a_process_that_is_not_there(spy, start):
    """A wrong number is said to be one."""
    process = start("print('ready')")
    process.wait()

    result = run(process.pid, "--seconds", 1)

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, f"Error: there is no process {process.pid}")


def test_a_process_that_is_not_python(spy):
    """What is no Python program cannot be profiled, and that is said."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        result = run(process.pid, "--seconds", 1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert result.exit_code == 1
    assert f"process {process.pid} is not a Python program" in result.stderr


def test_a_process_of_somebody_else(busy, spy):
    """Who may not look into the process is told what to do."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # for somebody else
        copy = shutil.copy(spy, folder)
        told = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "record", "-p", str(busy), "-d", "1"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        ).stderr

    assert told.startswith("Permission Denied")
    assert profile.DENIED.format(pid=busy) == profile._reason(told, busy)


@pytest.mark.parametrize("given", ["abc", "0", "1.5", "²"])
def test_what_is_no_process_id(given):
    """Who gives a name is told that a number is wanted, and where to find it."""
    result = run(given)

    assert result.exit_code == 2
    assert f"{given} is no process id; give a number such as `pgrep" in " ".join(result.stderr.split())


def test_without_py_spy(monkeypatch):
    """Who has not installed py-spy is told how."""
    monkeypatch.setattr(profile.shutil, "which", lambda *_, **__: None)

    result = run(os.getpid())

    assert (result.exit_code, result.stderr) == (1, f"Error: {profile.MISSING}\n")


def test_py_spy_that_does_not_run(tmp_path, monkeypatch):
    """A py-spy that cannot be started is an error of one line."""
    broken = tmp_path / "py-spy"
    broken.write_text("not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(profile, "_py_spy", lambda: str(broken))

    result = run(os.getpid(), "--seconds", 1, "--output", tmp_path / "out.svg")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: py-spy did not work: ")


def test_a_folder_that_is_not_there(tmp_path):
    """Where nothing can be written is said before looking for ten seconds."""
    result = run(os.getpid(), "--output", tmp_path / "missing" / "out.svg")

    assert result.exit_code == 2
    assert f"there is no folder {tmp_path / 'missing'}" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("Error: Something new\n\nStack backtrace:\n 0: x", "Error: Something new"),
        ("", "py-spy ended without a word"),
        ("Error: Operation not permitted (os error 1)", profile.DENIED.format(pid=7)),
    ],
)
def test_other_reasons(told, said):
    """What py-spy says is passed on in one line."""
    assert said == profile._reason(told, 7)
