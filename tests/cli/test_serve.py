import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
from click.testing import CliRunner

from agent_exporter.cli import main
from agent_exporter.cli.serve import reachable, start_demo, stop
from agent_exporter.config import Address

ANY = "127.0.0.1:0"
PORTS = ("--otlp.grpc-address", ANY, "--otlp.http-address", ANY, "--web.listen-address", ANY)
READY = re.compile(r"ready grpc=127\.0\.0\.1:\d+ http=127\.0\.0\.1:\d+ web=(127\.0\.0\.1:\d+)\n")


class Running:
    """A collector in its own process: its page's address, and all that it said in the end."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "agent_exporter", "serve", *PORTS, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_EXPORTER_")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.first = self.process.stdout.readline()
        self.web = f"http://{READY.fullmatch(self.first)[1]}" if READY.fullmatch(self.first) else ""

    def get(self, path: str) -> str:
        """Read a page."""
        with urllib.request.urlopen(f"{self.web}{path}", timeout=10) as response:
            return response.read().decode()

    def child(self) -> psutil.Process:
        """Find the process it starts once it is ready."""
        limit = time.monotonic() + 30
        while not (found := psutil.Process(self.process.pid).children()):
            assert time.monotonic() < limit, "no child"
            time.sleep(0.05)
        return found[0]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal and return exit code, standard output after the first line, and standard error."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def collector():
    """Start collectors, and end those that a test leaves behind."""
    started = []

    def start(*arguments: str) -> Running:
        started.append(Running(*arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            print(running.process.communicate(timeout=20)[1])  # the log, for whoever reads of the failure


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_and_stop(collector, number):
    """One ready line is all that goes to standard output; a signal ends it with exit code 0 and no traceback."""
    running = collector()

    assert READY.fullmatch(running.first)
    assert running.get("/-/ready")
    code, out, err = running.end(number)

    assert (code, out) == (0, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(("level", "line"), [("info", "message=ready grpc="), ("warning", "\nready grpc=")])
def test_a_terminal_is_told_once(level, line):
    """Where the log and standard output are one terminal, that all is ready is said once."""
    terminal, inner = os.openpty()
    command = [sys.executable, "-m", "agent_exporter", "serve", *PORTS, "--log.level", level]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    told, stopped = "\n", False
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while part := os.read(terminal, 4096).decode():
            told += part
            if "ready" in told and not stopped:
                process.terminate()
                stopped = True
    os.close(terminal)

    assert process.wait(20) == 0
    assert told.count("ready") == 1
    assert line in told


def test_the_log_is_pairs(collector):
    """Every line of standard error is key=value pairs and begins with the time."""
    _, _, err = collector("--log.level", "debug").end()

    assert err
    assert [line for line in err.splitlines() if not line.startswith("time=")] == []


def test_the_demo_agent_moves_metrics(collector):
    """With --demo, sessions and tokens of the pretend agent appear, and it ends with the collector."""
    running = collector("--demo")
    child = running.child()
    limit = time.monotonic() + 60
    while "agent_tokens_total{" not in (page := running.get("/metrics")):
        assert time.monotonic() < limit, page
        time.sleep(0.25)

    assert "agent_sessions_total{" in page
    assert 'model="demo-model' in page
    code, _, err = running.end()

    assert code == 0
    assert f"{running.web}/metrics" in err
    assert not child.is_running()


def test_a_state_path_is_not_silently_ignored(collector, tmp_path):
    """The log says that a state path does nothing yet, and nothing is written."""
    _, _, err = collector("--state.path", str(tmp_path / "state")).end()

    assert "writes nothing there" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "key"),
    [
        ("--otlp.grpc-address", "otlp.grpc_address"),
        ("--otlp.http-address", "otlp.http_address"),
        ("--web.listen-address", "web.listen_address"),
    ],
)
def test_an_address_in_use(flag, key):
    """A door that is taken ends the start with one line, which says what gives it another address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "agent_exporter", "serve", *PORTS, flag, taken],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"cannot listen on {taken}: another program has that port; choose another address with {flag} or {key}\n"
    )


def test_an_address_of_another_machine():
    """An address that this machine does not have is said to be one."""
    done = subprocess.run(
        [sys.executable, "-m", "agent_exporter", "serve", *PORTS, "--otlp.grpc-address", "192.0.2.1:4317"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("cannot listen on 192.0.2.1:4317: Cannot assign requested address; choose another")


def test_a_wrong_flag():
    """A wrong flag is named once, with what is allowed."""
    result = CliRunner().invoke(main, ["serve", "--web.listen-address", "19464"])

    assert result.exit_code == 1
    assert result.stderr == (
        "--web.listen-address: '19464' is not allowed; "
        "allowed: HOST:PORT; to listen on this machine only write 127.0.0.1:19464\n"
    )


def test_help_shows_defaults():
    """The help of serve shows each flag with its default."""
    result = CliRunner().invoke(main, ["serve", "--help"], terminal_width=200)

    assert "--web.listen-address VALUE" in result.stdout
    assert "Default: 127.0.0.1:9464." in result.stdout


def test_help_loads_no_command():
    """The list of commands is shown without importing any of them."""
    code = (
        "import sys; from agent_exporter.cli import main; main(['--help'], standalone_mode=False);"
        "print(sorted(name for name in sys.modules if name.startswith('agent_exporter.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert "Receive OTLP from agents" in done.stdout
    assert done.stdout.splitlines()[-1] == "['agent_exporter.cli']"


def test_an_unknown_command():
    """A command that does not exist is refused by name."""
    result = CliRunner().invoke(main, ["srve"])

    assert result.exit_code == 2
    assert "No such command 'srve'" in result.stderr


def test_open_doors_are_reached_on_localhost():
    """A door on every interface is reached on this machine's own address."""
    assert [str(reachable(Address(host, 4318))) for host in ("0.0.0.0", "::", "127.0.0.1")] == [
        "127.0.0.1:4318",
        "[::1]:4318",
        "127.0.0.1:4318",
    ]


def test_the_demo_agent_is_stopped():
    """The demo agent's process is gone after it was stopped."""
    child = start_demo(Address("127.0.0.1", 9))

    stop(child)

    assert child.returncode is not None
