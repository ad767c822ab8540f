"""Every alert has a page that says what it means and what to do, and what the page names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from agent_exporter.config.keys import FIELDS
from agent_exporter.lint import Lexicon, RuleFile, learn
from agent_exporter.lint.promql import read
from end_to_end.prometheus import Prometheus

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
FILES = sorted((ROOT / "alerts" / "rules").glob("*.yml"))
ALERTS = {
    rule["alert"]
    for path in FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
THRESHOLDS = yaml.safe_load((ROOT / "alerts" / "thresholds.yaml").read_text())
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
FOREIGN = {"gc.set_threshold", "resources.limits.cpu", "service.instance.id"}  # dotted names of others
OURS = re.compile(r"\b(?:agent|system|container|slo|job|instance)[a-z0-9_]*(?::[a-z0-9_:]+|_[a-z0-9_]+)")


@pytest.fixture(scope="module")
def lexicon():
    """Know the catalogue and what the rules record."""
    made = Lexicon.of_catalog()
    learn([RuleFile.load(path) for path in FILES], made)
    return made


def blocks(path, kind):
    """Give the code blocks of a kind."""
    return [text for found, text in BLOCK.findall(path.read_text()) if found == kind]


def prose(path):
    """Give what is neither a code block nor the title."""
    return BLOCK.sub("", path.read_text()).partition("\n")[2]


def spans(path):
    """Give the pieces of code within sentences."""
    return SPAN.findall(prose(path))


each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def test_every_alert_has_a_page_and_every_page_an_alert():
    """Files are called as alerts are."""
    assert sorted(ALERTS) == [path.stem for path in PAGES]


@each_page
def test_four_sections(path):
    """A page has its alert as the title, then meaning, impact, diagnosis and mitigation, none of them empty."""
    title, *lines = path.read_text().splitlines()
    text = "\n".join(lines)

    assert title == f"# {path.stem}"
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert [part for part in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:] if len(part.strip()) < 10] == []
    assert max(map(len, re.findall(r"^.*$", BLOCK.sub("", text), re.MULTILINE))) <= 120 or "https://" in text


@each_page
def test_queries_name_what_there_is(path, lexicon):
    """Each page has queries; their series, labels and values are in the catalogue or recorded by rules."""
    queries = blocks(path, "promql")

    assert queries
    assert [(query, mistakes) for query in queries if (mistakes := read(query, lexicon).mistakes)] == []


@pytest.fixture(scope="module")
def server(program, tmp_path_factory):
    """Run a real Prometheus that knows nothing."""
    prometheus = Prometheus(program("prometheus"), tmp_path_factory.mktemp("prometheus"), "global: {}\n")
    yield prometheus
    prometheus.stop()


@each_page
def test_a_real_prometheus_takes_the_queries(path, server):
    """A real Prometheus evaluates each query."""
    for query in blocks(path, "promql"):
        assert server.ask("query", query=query)["resultType"] in {"vector", "scalar"}


@each_page
def test_commands_and_sentences_name_metrics_that_there_are(path, lexicon):
    """A metric or recorded series in a command or a sentence is one of ours."""
    texts = [*blocks(path, "sh"), *spans(path)]
    labels = set().union(*(lexicon.labels(name) or () for name in lexicon.series))
    named = {name for text in texts for name in OURS.findall(text)}

    assert sorted(name for name in named if name not in labels and not lexicon.knows(name)) == []


def lookup(tree, path):
    """Tell whether a dotted path leads somewhere in nested mappings."""
    for name in path.split("."):
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name]
    return True


@each_page
def test_thresholds_and_keys_are_named_rightly(path):
    """A dotted name in a sentence is a threshold of alerts/thresholds.yaml or a key of the configuration."""
    keys = {".".join(key) for key in FIELDS} | {"prices.models"}
    named = {span for span in spans(path) if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", span)}

    assert sorted(name for name in named if not lookup(THRESHOLDS, name) and name not in keys | FOREIGN) == []


@each_page
def test_no_number_is_repeated(path):
    """Sentences name thresholds instead of repeating numbers that somebody may change."""
    text = re.sub(r"\(\S+\)|<\S+>", "", SPAN.sub("", prose(path)))  # without addresses

    assert re.findall(r"\S*(?<!p)\b\d+\S*", re.sub(r"\bp\d\d\b", "", text)) == []


@each_page
def test_links_lead_somewhere(path):
    """Links to other pages of the repository find them."""
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (path.parent / link).exists()] == []


def test_links_of_alerts_lead_here():
    """The pattern of `runbook_url` names this folder."""
    assert THRESHOLDS["links"]["runbooks"].endswith("/docs/runbooks")
