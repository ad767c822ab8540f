"""What Grafana is given at its start: data sources, boards and the home page, which must name each other rightly."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import yaml

from stack.compose import ROOT, project

PROVISIONING = ROOT / "dashboards" / "provisioning"
SOURCES = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
(PROVIDER,) = yaml.safe_load((PROVISIONING / "dashboards" / "agents.yaml").read_text())["providers"]
ENVIRONMENT = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["environment"]


def mounted():
    """Give every mounted file of Grafana by its path in the container."""
    return {
        mount["target"]: mount["source"]
        for mount in project()["services"]["grafana"]["volumes"]
        if mount["type"] == "bind"
    }


def test_the_data_sources_have_fixed_names():
    """Boards and links find the data sources by uids that do not change with an installation."""
    assert [(source["type"], source["uid"]) for source in SOURCES] == [
        ("prometheus", "agent-prometheus"),
        ("alertmanager", "agent-alertmanager"),
    ]
    assert [source["name"] for source in SOURCES if source.get("isDefault")] == ["Prometheus"]
    assert SOURCES[0]["jsonData"]["alertmanagerUid"] == SOURCES[1]["uid"]


def test_grafana_knows_how_often_prometheus_scrapes():
    """`$__rate_interval` comes from the interval that Prometheus has."""
    scraped = yaml.safe_load((ROOT / "alerts" / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert SOURCES[0]["jsonData"]["timeInterval"] == scraped


def test_grafana_finds_every_board():
    """Every board of the repository is in the folder that Grafana reads, and cannot be changed in the browser."""
    folder = PROVIDER["options"]["path"]
    found = {PurePosixPath(path).name for path in mounted() if PurePosixPath(path).parent == PurePosixPath(folder)}

    assert found == {path.name for path in (ROOT / "dashboards").glob("*.json")}
    assert (PROVIDER["disableDeletion"], PROVIDER["allowUiUpdates"]) == (True, False)


def test_provisioning_is_where_grafana_looks():
    """Data sources and providers are mounted where Grafana reads them."""
    found = {path: PurePosixPath(source).name for path, source in mounted().items() if "provisioning" in path}

    assert found == {
        "/etc/grafana/provisioning/datasources": "datasources",
        "/etc/grafana/provisioning/dashboards": "dashboards",
    }


def test_the_first_page_is_the_overview():
    """Whoever opens Grafana sees the overview, without logging in and without being able to change anything."""
    home = ENVIRONMENT["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert json.loads(Path(mounted()[home]).read_text())["uid"] == "agent-overview"
    assert (ENVIRONMENT["GF_AUTH_ANONYMOUS_ENABLED"], ENVIRONMENT["GF_AUTH_ANONYMOUS_ORG_ROLE"]) == ("true", "Viewer")


def test_alerts_link_to_this_grafana():
    """The links of alerts lead to the port that Grafana is published at."""
    (port,) = project()["services"]["grafana"]["ports"]
    links = yaml.safe_load((ROOT / "alerts" / "thresholds.yaml").read_text())["links"]["dashboards"]

    assert links == f"http://localhost:{port['published']}/d"
