import re
import runpy
from pathlib import Path

import pytest

from agent_exporter.catalog import CATALOG, GROUPS

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.txt"))


@pytest.fixture(scope="module")
def text():
    """Return the page."""
    return (DOCS / "metrics.md").read_text(encoding="utf-8")


def test_the_page_is_current(text):
    """docs/metrics.md says what the catalogue says; `make docs` writes it again."""
    assert text == runpy.run_path(str(DOCS / "metrics.py"))["page"]()


def test_every_family_is_on_the_page_once(text):
    """Each family of the catalogue stands in its group, in the catalogue's order."""
    assert re.findall(r"^\| `\w+`<br>(\S+) \|", text, re.MULTILINE) == list(CATALOG)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(GROUPS)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_names_are_those_of_the_page(text, golden):
    """What a real agent's page calls a normalised family is what the documentation calls it, kind included."""
    documented = dict(re.findall(r"^\| `(\w+?)(?:_total)?`<br>\S+ \| (\w+),", text, re.MULTILINE))
    exposed = dict(re.findall(r"^# TYPE (agent_\w+?)(?:_total)? (\w+)$", golden.read_text(), re.MULTILINE))

    assert {name: documented.get(name) for name in exposed} == exposed
