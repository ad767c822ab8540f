"""docker-compose.yml: what docker compose makes of it, and what the whole stack would run and mount."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from alerts.alertmanager_server import SHIPPED, free_port, running
from end_to_end.process import READY, request, samples, until
from end_to_end.prometheus import Prometheus
from stack.compose import FILE, ROOT, project
from stack.image import Image

WRITTEN = yaml.safe_load(FILE.read_text())
OURS = ("exporter", "demo")
OTHERS = ("prometheus", "alertmanager", "grafana")
HEALTHY = "http://127.0.0.1:9464/-/healthy"

# Each file or folder that is mounted, and the test that reads the same one.
CHECKED = {
    "alerts/prometheus.yml": "alerts/test_prometheus_config.py",
    "alerts/rules": "alerts/test_prometheus_config.py",
    "alerts": "alerts/test_routes.py",
    "dashboards/provisioning/datasources": "stack/test_compose_grafana.py",
    "dashboards/provisioning/dashboards": "stack/test_compose_grafana.py",
    **{
        f"dashboards/agent-{board}.json": "stack/test_compose_grafana.py"
        for board in ("overview", "tools", "models", "sessions", "runtime", "slo")
    },
}


def mounts():
    """List (source in the repository, target, read only) of every mounted file."""
    return [
        (str(Path(mount["source"]).relative_to(ROOT)), mount["target"], mount.get("read_only"))
        for service in project()["services"].values()
        for mount in service.get("volumes", [])
        if mount["type"] == "bind"
    ]


def test_compose_accepts_the_file():
    """Compose resolves the file without a word, into the services that it shall have."""
    assert sorted(project()["services"]) == sorted([*OURS, *OTHERS])
    assert project()["services"]["demo"]["profiles"] == ["demo"]


def test_every_port_is_open_to_this_machine_only():
    """Each published port is bound to 127.0.0.1, and each part can be reached."""
    ports = {
        name: [(port["host_ip"], port["published"]) for port in service.get("ports", [])]
        for name, service in project()["services"].items()
    }

    assert ports == {
        "exporter": [("127.0.0.1", "4317"), ("127.0.0.1", "4318"), ("127.0.0.1", "9464")],
        "demo": [],
        "prometheus": [("127.0.0.1", "9090")],
        "alertmanager": [("127.0.0.1", "9093")],
        "grafana": [("127.0.0.1", "3000")],
    }


def test_every_image_is_pinned():
    """Images of others have a version, and so have those that ours is built on."""
    images = [project()["services"][name]["image"] for name in OTHERS]
    bases = re.findall(r"^FROM (\S+)", WRITTEN["services"]["exporter"]["build"]["dockerfile_inline"], re.MULTILINE)

    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+$", image)] == []
    assert [image for image in bases if not re.search(r":\d+\.\d+-slim-\w+$", image)] == []
    assert len(bases) == 2


def test_nobody_is_root_or_can_become_it():
    """Each container has a user that is not root, no capabilities and no way to more."""
    services = project()["services"].items()

    assert [name for name, service in services if not re.fullmatch(r"[1-9]\d*:\d+", service["user"])] == []
    assert [name for name, service in services if service["cap_drop"] != ["ALL"]] == []
    assert [name for name, service in services if "no-new-privileges:true" not in service["security_opt"]] == []
    assert [name for name in OURS if not project()["services"][name]["read_only"]] == []


def test_what_is_mounted_is_there_and_checked():
    """Each mounted file is in the repository, cannot be written, and is the one that a test reads."""
    assert [source for source, _, _ in mounts() if not (ROOT / source).exists()] == []
    assert [source for source, _, read_only in mounts() if not read_only] == []
    assert sorted(source for source, _, _ in mounts()) == sorted(CHECKED)
    assert [test for test in CHECKED.values() if not (ROOT / "tests" / test).exists()] == []


def test_no_secret_gets_into_the_image():
    """What git ignores beside the configuration is no part of what the image is built from."""
    ignored = {line.lstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if "/alerts/" in line}

    assert {line.rstrip("/") for line in ignored} <= set((ROOT / ".dockerignore").read_text().splitlines())
    assert len(ignored) == 2


def test_data_outlives_the_containers():
    """What Prometheus, Alertmanager and Grafana write is on volumes."""
    kept = {
        name: [mount["target"] for mount in project()["services"][name]["volumes"] if mount["type"] == "volume"]
        for name in OTHERS
    }

    assert kept == {"prometheus": ["/prometheus"], "alertmanager": ["/alertmanager"], "grafana": ["/var/lib/grafana"]}


def test_each_waits_for_what_it_needs():
    """Nothing is started before what it asks is healthy, and all but the demo say whether they are."""
    needs = {
        name: {of: how["condition"] for of, how in service.get("depends_on", {}).items()}
        for name, service in project()["services"].items()
    }

    assert needs == {
        "exporter": {},
        "demo": {"exporter": "service_healthy"},
        "prometheus": {"exporter": "service_healthy", "alertmanager": "service_healthy"},
        "alertmanager": {},
        "grafana": {"prometheus": "service_healthy"},
    }
    assert [name for name, service in project()["services"].items() if "healthcheck" not in service] == ["demo"]


def test_names_in_configurations_are_services():
    """What Prometheus, Grafana and the demo connect to are services of the file, at the ports they listen on."""
    texts = [
        (ROOT / "alerts" / "prometheus.yml").read_text(),
        (ROOT / "dashboards" / "provisioning" / "datasources" / "prometheus.yaml").read_text(),
        str(project()["services"]["demo"]["entrypoint"]),
    ]
    found = {name for text in texts for name in re.findall(r"[\"/](\w+:\d+)", text) if not name.startswith("localhost")}

    assert found == {"exporter:9464", "exporter:4318", "prometheus:9090", "alertmanager:9093", "grafana:3000"}


def test_the_addresses_are_keys_of_the_configuration():
    """Inside the container the collector listens on every interface, at the ports that are published."""
    environment = project()["services"]["exporter"]["environment"]

    assert environment == {
        "AGENT_EXPORTER_OTLP_GRPC_ADDRESS": "0.0.0.0:4317",
        "AGENT_EXPORTER_OTLP_HTTP_ADDRESS": "0.0.0.0:4318",
        "AGENT_EXPORTER_WEB_LISTEN_ADDRESS": "0.0.0.0:9464",
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Do the steps of the inline Dockerfile without Docker."""
    text = WRITTEN["services"]["exporter"]["build"]["dockerfile_inline"]
    return Image(text, tmp_path_factory.mktemp("image"))


def files(folder):
    """List everything below a folder."""
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.fixture
def container(image):
    """Start what the image starts, with the service's environment and free ports; yields (process, ports)."""
    path = f"{image.root}/opt/agent-exporter/bin:{os.environ['PATH']}"
    environment = {
        **{name: value.split(":")[0] + ":0" for name, value in WRITTEN["services"]["exporter"]["environment"].items()},
        "PATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }
    assert image.said["ENV"] == "PATH=/opt/agent-exporter/bin:$PATH PYTHONDONTWRITEBYTECODE=1"
    command = [*image.words("ENTRYPOINT"), *image.words("CMD")]
    program = f"{image.root}/opt/agent-exporter/bin/{command[0]}"
    with subprocess.Popen(
        [program, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline().replace("0.0.0.0", "127.0.0.1")
            ready = READY.fullmatch(line)
            assert ready, (line, process.stderr.read() if process.poll() is not None else "")
            yield environment, [int(port) for port in ready.groups()]
        finally:
            process.terminate()
            process.wait(30)


def test_the_image_has_what_it_needs_and_no_more(image):
    """The steps make an environment with the program and without pip; the image's user is the service's."""
    installed = image.root / "opt" / "agent-exporter"

    assert (installed / "bin" / "agent-exporter").exists()
    assert list(installed.rglob("pip")) == []
    assert list(installed.rglob("pytest")) == []
    assert image.said["USER"] == project()["services"]["exporter"]["user"]


def test_the_image_runs_and_is_healthy(image, container):
    """What the image starts answers the health check's own command, and writes nothing where it is installed."""
    environment, (_, http, web) = container
    before = files(image.root / "opt")
    word, *command = WRITTEN["services"]["exporter"]["healthcheck"]["test"]
    python = [f"{image.root}/opt/agent-exporter/bin/{command[0]}", *command[1:-1]]
    demo = WRITTEN["services"]["demo"]["entrypoint"]
    pushing = [f"{image.root}/opt/agent-exporter/bin/{demo[0]}", *demo[1:-1], f"http://127.0.0.1:{http}"]

    def check(port):
        text = command[-1].replace("9464", str(port))
        return subprocess.run([*python, text], env=environment, capture_output=True, timeout=30, check=False).returncode

    assert (word, HEALTHY in command[-1]) == ("CMD", True)
    assert check(web) == 0
    assert check(free_port()) == 1
    with subprocess.Popen(pushing, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as agent:
        try:
            page = until(lambda: _tools(request(web, "GET", "/metrics", None, {"accept": "text/plain"}).body.decode()))
        finally:
            agent.terminate()
            agent.wait(30)
    assert {agent for agent, _ in page} == {"claude-code"}
    assert files(image.root / "opt") == before


def _tools(page):
    """List (agent, tool) of all tool calls on a page."""
    return {
        (dict(labels)["agent"], dict(labels)["tool"])
        for (name, labels), value in samples(page).items()
        if name == "agent_tool_executions_total" and value
    }


@pytest.fixture
def servers(program, tmp_path):
    """Run a real Prometheus and a real Alertmanager; gives their ports."""
    folders = [tmp_path / name for name in ("prometheus", "alertmanager")]
    for folder in folders:
        folder.mkdir()
    prometheus = Prometheus(program("prometheus"), folders[0], "global: {}\n")
    try:
        with running(program("alertmanager"), folders[1], SHIPPED) as alertmanager:
            yield {"prometheus": prometheus.port, "alertmanager": alertmanager.port}
    finally:
        prometheus.stop()


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_health_checks_of_the_servers(name, servers, program):
    """The command of the health check succeeds on a server that is up, and fails where none is."""
    _, wget, *options, address = project()["services"][name]["healthcheck"]["test"]

    def run(port):
        command = [program(wget), *options, re.sub(r":\d+", f":{port}", address)]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0

    assert [run(servers[name]), run(free_port())] == [True, False]


def outside(service, text, volumes):
    """Put what is mounted in place of the paths inside the container; volumes are folders of this test."""
    mounts = {
        mount["target"]: mount["source"] if mount["type"] == "bind" else str(volumes / mount["source"])
        for mount in service["volumes"]
    }
    return next(
        (text.replace(target, mounts[target], 1) for target in sorted(mounts, key=len, reverse=True) if target in text),
        text,
    )


@pytest.fixture
def composed(program, tmp_path):
    """Start a server with the command of its service, at a free port; gives the port."""
    with contextlib.ExitStack() as stack:

        def start(name):
            service, port = project()["services"][name], free_port()
            flags = [outside(service, flag, tmp_path) for flag in service["command"]]
            command = [program(name), *flags, f"--web.listen-address=127.0.0.1:{port}"]
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.terminate)
            until(lambda: _answers(port) or process.poll() is not None)
            assert process.poll() is None, (tmp_path / f"{name}.log").read_text()
            return port

        yield start


def _answers(port):
    with contextlib.suppress(OSError):
        return request(port, "GET", "/-/ready").status == 200


def _ask(port, path):
    return json.loads(request(port, "GET", path).body)


def test_prometheus_runs_as_composed(composed):
    """With the flags and files of the service Prometheus loads every rule, knows every target and keeps exemplars."""
    port = composed("prometheus")

    groups = _ask(port, "/api/v1/rules")["data"]["groups"]
    targets = until(lambda: _ask(port, "/api/v1/targets")["data"]["activeTargets"])
    flags = _ask(port, "/api/v1/status/flags")["data"]
    rules = [rule["name"] for group in groups for rule in group["rules"]]
    written = [path.read_text() for path in (ROOT / "alerts" / "rules").glob("*.yml")]
    assert len(rules) == sum(len(re.findall(r"^  - (?:alert|record):", text, re.MULTILINE)) for text in written)
    assert {target["labels"]["job"]: target["scrapeUrl"] for target in targets} == {
        "agent-exporter": "http://exporter:9464/metrics",
        "prometheus": "http://localhost:9090/metrics",
        "alertmanager": "http://alertmanager:9093/metrics",
        "grafana": "http://grafana:3000/metrics",
    }
    assert flags["enable-feature"] == "exemplar-storage"


def test_alertmanager_runs_as_composed(composed):
    """With the flags and files of the service Alertmanager serves the shipped routes, without a secret."""
    port = composed("alertmanager")

    served = yaml.safe_load(_ask(port, "/api/v2/status")["config"]["original"])
    shipped = yaml.safe_load(SHIPPED)
    assert [receiver["name"] for receiver in served["receivers"]] == [each["name"] for each in shipped["receivers"]]
    assert len(served["route"]["routes"]) == len(shipped["route"]["routes"])
    assert len(served["inhibit_rules"]) == len(shipped["inhibit_rules"])


def test_flags_are_known_to_the_programs(program):
    """A real Prometheus and a real Alertmanager start with the flags of the file."""
    for name in ("prometheus", "alertmanager"):
        flags = [flag.partition("=")[0] for flag in project()["services"][name]["command"]]
        made = subprocess.run([program(name), "--help"], capture_output=True, text=True, timeout=30, check=False)
        assert [flag for flag in flags if flag not in made.stdout + made.stderr] == []
