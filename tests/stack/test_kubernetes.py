"""docs/kubernetes: what kustomize makes of it, held to the schemas of Kubernetes and to what the exporter needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from agent_exporter.config import load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "kubernetes"
VERSIONS = ("1.29", kubernetes_validate.latest_version().rpartition(".")[0])  # a release of 2023, and the newest known
CONFIG = load(FOLDER / "base" / "exporter.yaml")
DISCOVERY = yaml.safe_load((ROOT / "alerts" / "discovery" / "kubernetes.yml").read_text())["scrape_configs"][0]
KUSTOMIZE = (["kubectl", "kustomize"], ["kustomize", "build"])
NAME = {"app.kubernetes.io/name": "agent-exporter"}


@cache
def built(folder):
    """Build a folder with kustomize; gives its objects."""
    command = next(
        (words for words in (["kubectl", "kustomize"], ["kustomize", "build"]) if shutil.which(words[0])), None
    )
    if command is None:
        pytest.skip("neither kubectl nor kustomize is here; what they build is not checked, the files as written are")
    made = subprocess.run([*command, str(FOLDER / folder)], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


def written():
    """List the objects as they are written, without kustomize."""
    files = sorted(path for path in FOLDER.rglob("*.yaml") if path.name not in {"kustomization.yaml", "exporter.yaml"})
    return [(path.name, made) for path in files for made in yaml.safe_load_all(path.read_text())]


def one(kind, name="agent-exporter"):
    """Find an object among those that are built."""
    (found,) = [made for made in built("operator") if (made["kind"], made["metadata"]["name"]) == (kind, name)]
    return found


def container():
    """Give the only container."""
    (found,) = one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ["base", "operator"])
def test_what_is_built_is_valid(folder, version):
    """Each object that kustomize builds has the fields that Kubernetes knows, and no other."""
    for made in built(folder):
        if made["kind"] != "PodMonitor":  # not Kubernetes' own
            kubernetes_validate.validate(made, version, strict=True)


def test_what_is_written_is_valid():
    """Objects as written are valid too, but for what kustomize adds: the selectors."""
    for name, made in written():
        if made["kind"] in {"PodMonitor", "StatefulSet"}:
            continue
        kubernetes_validate.validate(made, VERSIONS[-1], strict=True)
        assert made["apiVersion"], name


def test_every_file_is_used():
    """Kustomize is told of each file of the folders."""
    for folder in ("base", "operator"):
        listed = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
        used = {name for name in listed["resources"] if name.endswith(".yaml")}
        used |= {name for made in listed.get("configMapGenerator", []) for name in made["files"]}
        assert used == {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}


def test_the_configuration_and_the_ports_agree():
    """The exporter listens where the ports of the pod, the Service and the probes lead."""
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    service = {port["targetPort"]: port["port"] for port in one("Service")["spec"]["ports"]}
    opened = [port["port"] for rule in one("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    listening = {
        "otlp-grpc": CONFIG.otlp.grpc_address.port,
        "otlp-http": CONFIG.otlp.http_address.port,
        "web": CONFIG.web.listen_address.port,
    }

    assert ports == listening
    assert service == {name: port for name, port in listening.items() if name != "web"}
    assert sorted(opened) == sorted(listening)
    assert {container()[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {"web"}


def test_the_configuration_is_mounted_where_it_is_read():
    """The argument of `serve` is the file of the ConfigMap, and that is the checked one."""
    (mount,) = [mount for mount in container()["volumeMounts"] if mount["name"] == "configuration"]
    (volume,) = [
        volume
        for volume in one("StatefulSet")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == mount["name"]
    ]
    (map_,) = [made for made in built("operator") if made["kind"] == "ConfigMap"]

    assert container()["args"] == ["serve", "--config", f"{mount['mountPath']}/exporter.yaml"]
    assert volume["configMap"]["name"] == map_["metadata"]["name"]
    assert map_["data"] == {"exporter.yaml": (FOLDER / "base" / "exporter.yaml").read_text()}


def test_selectors_find_the_pods():
    """Services, the policy, the budget, the monitor and the discovery choose the pods by the label that they have."""
    labels = one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    chosen = [
        one("StatefulSet")["spec"]["selector"]["matchLabels"],
        one("Service")["spec"]["selector"],
        one("Service", "agent-exporter-pods")["spec"]["selector"],
        one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one("PodMonitor")["spec"]["selector"]["matchLabels"],
        dict([DISCOVERY["kubernetes_sd_configs"][0]["selectors"][0]["label"].split("=")]),
    ]

    assert NAME.items() <= labels.items()
    assert [NAME] * len(chosen) == chosen
    assert one("StatefulSet")["spec"]["serviceName"] == "agent-exporter-pods"


def test_pods_have_no_rights():
    """Not root, nothing writable but /tmp, no capability, no token; so the namespace may be a restricted one."""
    pod, here = one("StatefulSet")["spec"]["template"]["spec"], container()["securityContext"]

    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"] > 0) == (True, True)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert here == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory"} == set(container()["resources"]["limits"])


def test_agents_stick_to_a_replica():
    """The Service that agents push to keeps a client at its pod; there is more than one pod."""
    spec = one("Service")["spec"]

    assert spec["sessionAffinity"] == "ClientIP"
    assert one("StatefulSet")["spec"]["replicas"] > one("PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_requests_in_flight_can_finish():
    """Kubernetes waits longer for the end than the exporter does."""
    grace = one("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    assert grace > CONFIG.limits.shutdown_timeout


def test_the_monitor_is_the_shipped_job():
    """The PodMonitor says what alerts/prometheus.yml and the discovery say, in the operator's words."""
    spec = one("PodMonitor")["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    shipped = yaml.safe_load((ROOT / "alerts" / "prometheus.yml").read_text())
    job = shipped["scrape_configs"][0]

    assert one("StatefulSet")["spec"]["template"]["metadata"]["labels"][spec["jobLabel"]] == job["job_name"]
    assert (spec["sampleLimit"], endpoint["honorLabels"]) == (job["sample_limit"], job["honor_labels"])
    assert endpoint["interval"] == shipped["global"]["scrape_interval"]
    assert endpoint["scrapeTimeout"] == shipped["global"]["scrape_timeout"]
    (relabeling,) = endpoint["relabelings"]
    assert {"source_labels": relabeling["sourceLabels"], "target_label": relabeling["targetLabel"]} in DISCOVERY[
        "relabel_configs"
    ]


def test_remote_write_is_valid(program):
    """Prometheus accepts the storage examples."""
    command = [program("promtool"), "check", "config", str(FOLDER / "remote-write.yml")]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert made.returncode == 0, made.stdout + made.stderr


def test_links_and_keys_of_the_page():
    """Links of README.md lead somewhere."""
    links = re.findall(r"\]\(([^)#]+)\)", (FOLDER / "README.md").read_text())

    assert [link for link in links if "://" not in link and not (FOLDER / link).exists()] == []
