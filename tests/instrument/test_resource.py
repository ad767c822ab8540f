"""Who pushes: names and ids of processes, and of those that are forked from them."""

import os
import re
import subprocess
import sys

import pytest

from agent_exporter.instrument.resource import INSTANCE, Identity

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Begin without what OpenTelemetry is told by the environment."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_name_in_the_program():
    """A program that nothing else names is called as it says, on this host, in this process."""
    found = Identity("shop").attributes()

    assert UUID.fullmatch(found[INSTANCE])
    assert (found["service.name"], found["host.name"], found["process.pid"]) == (
        "shop",
        os.uname().nodename,
        os.getpid(),
    )


def test_no_name():
    """A program without a name is called as the SDK would."""
    assert Identity(None).attributes()["service.name"] == "unknown_service:python"


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("deployed", "service.name=less,team=a", {"service.name": "deployed", "team": "a"}),
        ("", "service.name=a%20b, team = a ,broken,=x", {"service.name": "a b", "team": "a"}),
        ("", "host.name=other,service.instance.id=7", {"host.name": "other", INSTANCE: "7", "service.name": "shop"}),
    ],
)
def test_the_environment(environment, name, attributes, expected):
    """What is deployed wins over what is written in the program; values are percent-encoded."""
    environment.setenv("OTEL_SERVICE_NAME", name)
    environment.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)

    found = Identity("shop").attributes()
    assert {key: found.get(key) for key in expected} == expected
    assert set(found) - set(expected) <= {"host.name", "process.pid", INSTANCE}


def test_it_stays_the_same():
    """A process is one instance, however often it is asked."""
    identity = Identity("shop")

    assert identity.attributes() == identity.attributes()


def test_a_fork_is_another_instance(environment):
    """A child has an id of its own: made anew, or made of the one that was given and its pid."""
    made = Identity("shop")
    before = made.attributes()[INSTANCE]
    made.fork()
    environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod")
    given = Identity("shop")
    parent = given.attributes()[INSTANCE]
    given.fork()
    child = given.attributes()[INSTANCE]
    given.fork()

    assert UUID.fullmatch(made.attributes()[INSTANCE])
    assert made.attributes()[INSTANCE] != before
    assert [parent, child, given.attributes()[INSTANCE]] == ["pod", f"pod-{os.getpid()}", f"pod-{os.getpid()}"]


SETUP = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.resources import Resource
{setup}
from agent_exporter.instrument.resource import Identity
found = Identity("written").attributes()
print(found["service.name"], found["service.instance.id"], found.get("team"))
"""
METERS = (
    'metrics.set_meter_provider(MeterProvider(resource=Resource({"service.name": "m", "service.instance.id": "1"})))\n'
)
TRACES = (
    'trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": "t", "service.instance.id": "2"})))\n'
)
UNNAMED = (
    'trace.set_tracer_provider(TracerProvider(resource=Resource.create({"service.instance.id": "3", "team": "a"})))\n'
)


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        (METERS, "m 1 None"),
        (TRACES, "t 2 None"),
        (METERS + TRACES, "m 1 None"),
        (UNNAMED, "written 3 a"),
        ("", "written"),
    ],
    ids=["meters", "traces", "both", "without a name", "none"],
)
def test_the_programs_own(setup, expected):
    """A program that has set up the SDK is who its provider says, that of metrics first."""
    command = [sys.executable, "-c", SETUP.format(setup=setup)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert found.startswith(expected)
