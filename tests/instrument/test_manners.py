"""Manners inside somebody's program: what is loaded, what runs, what is needed."""

import json
import os
import subprocess
import sys

import pytest

ENV = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
# What the collector needs and an agent does not.
COLLECTOR = (
    *("click", "genai_prices", "grpc", "httptools", "isal", "numpy", "orjson", "prometheus_client", "psutil"),
    *("pydantic", "rich", "tomlkit", "uvicorn", "uvloop", "yaml", "zstandard"),
)
ROOMS = ("collector", "cli", "config", "decode", "dialects", "expose", "receive", "sample", "store", "web", "prices")


def run(code, **env):
    """Run a program to its end; returns what it printed as JSON, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENV | env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_what_importing_loads():
    """Importing the library loads what it is made of and of the standard library nothing that is dear."""
    code = """
import sys
known = set(sys.modules)
import agent_exporter.instrument, json
print(json.dumps(sorted(set(sys.modules) - known)))
"""
    loaded, _ = run(code)

    ours = {name.split(".")[1] for name in loaded if name.startswith("agent_exporter.")}
    others = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"agent_exporter"}
    assert (ours, others) == ({"catalog", "model", "instrument"}, set())
    assert {"tracemalloc", "pickle"} & set(loaded) == set()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_pushing_loads(protocol):
    """Pushing loads the standard exporter, and of the collector nothing; gRPC only if that is asked for."""
    code = """
import json, sys
from agent_exporter.instrument import flush, start, tool
start("x")
tool("x")(len)("abc")
flush()
print(json.dumps(sorted(sys.modules)))
"""
    loaded, _ = run(code, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    tops = {name.partition(".")[0] for name in loaded} - {"psutil"}  # which the SDK loads where it is installed
    rooms = {name.split(".")[1] for name in loaded if name.startswith("agent_exporter.")}
    assert "opentelemetry.sdk.metrics.export" in loaded
    assert tops & set(COLLECTOR) == ({"grpc"} if protocol == "grpc" else set())
    assert rooms & set(ROOMS) == set()


def test_without_an_exporter():
    """Where no exporter is installed nothing is measured; that is said once, and the program works."""
    code = """
import json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
from agent_exporter.instrument import cells, flush, shutdown, start, tool
start("x")
work = tool("x")(len)
first = work("abc")
done = flush(5)
print(json.dumps([first, work("abcd"), done, cells.SWITCH.on, shutdown()]))
"""
    found, said = run(code)

    assert found == [3, 4, False, False, False]
    assert said == (
        "nothing is measured: opentelemetry is not installed; "
        "pip install opentelemetry-exporter-otlp-proto-http, or -grpc if OTEL_EXPORTER_OTLP_PROTOCOL says so\n"
    )


def test_one_thread():
    """The library has one thread, a daemon; a second start has no other."""
    code = """
import json, threading
from agent_exporter.instrument import start
start("x")
start("y")
print(json.dumps([(thread.name, thread.daemon) for thread in threading.enumerate()][1:]))
"""
    found, _ = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert found == [["agent-exporter", True]]


def test_a_second_start_changes_nothing():
    """What the first start left out the second does not bring."""
    code = """
import json
from agent_exporter.instrument import cells, export, start
start("x", runtime=False)
identity = export._LIBRARY.identity
start("y")
names = [point.name for point in cells.collect() if point.name.startswith(("agent.runtime", "agent.process"))]
print(json.dumps([names, identity is export._LIBRARY.identity]))
"""
    found, _ = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert found == [[], True]


def test_pushes_are_nobodys_business():
    """What the exporter logs in our thread is not the program's; what it logs in the program's own is."""
    code = """
import json, logging
logging.basicConfig()
from agent_exporter.instrument import feedback, flush, start
start("x")
feedback("up")
done = flush()
logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter").warning("mine")
print(json.dumps(done))
"""
    delivered, said = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert delivered is False
    assert [line.split(":")[:2] for line in said.splitlines()] == [
        ["WARNING", "agent_exporter.instrument"],
        ["WARNING", "opentelemetry.exporter.otlp.proto.http.metric_exporter"],
    ]


@pytest.mark.parametrize("how", ["shutdown", "fork"])
def test_nothing_is_filtered_for_ever(how):
    """After a shutdown or a fork a thread that happens to have the number that ours had can log what it likes."""
    code = """
import logging, os, sys, threading
logging.basicConfig(level="WARNING")
from agent_exporter.instrument import export, shutdown, start
start("x", runtime=False)
pusher = export._LIBRARY.pusher
pusher.loaded.wait()
logger, number = logging.getLogger("urllib3.connectionpool"), pusher.thread.ident
if sys.argv[1] == "shutdown":
    shutdown()
    pusher.thread.join()
    assert not logger.filters
elif os.fork():
    os.wait()
    os._exit(0)
logging.threading = type("", (), {**vars(threading), "get_ident": lambda: number})
logger.warning("mine")
print(1, flush=True)
os._exit(0)
"""
    env = ENV | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", code, how]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "1\n", done.stderr
    assert "WARNING:urllib3.connectionpool:mine" in done.stderr.splitlines()


@pytest.mark.parametrize(
    ("interval", "environment", "expected"),
    [
        (None, None, 15.0),
        (3, None, 3.0),
        (3, "7000", 7.0),
        ("often", "soon", 15.0),
        (-1, "0", 15.0),
        ([], None, 15.0),
        (1e-9, None, 0.1),
        (float("inf"), None, 86_400.0),
        pytest.param(10**400, None, 15.0, id="huge"),
        (None, "inf", 86_400.0),
    ],
)
def test_intervals(points, monkeypatch, interval, environment, expected):
    """The environment's interval wins over the program's; what is none is left out."""
    from agent_exporter.instrument.export import _interval

    monkeypatch.delenv("OTEL_METRIC_EXPORT_INTERVAL", raising=False)
    if environment is not None:
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", environment)

    assert _interval(interval) == expected
