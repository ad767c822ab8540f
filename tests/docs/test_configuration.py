import runpy
from pathlib import Path

import yaml

from agent_exporter.config import load

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_current():
    """docs/configuration.md says what the fields say; `make docs` writes it again."""
    page = runpy.run_path(str(DOCS / "configuration.py"))["page"]

    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == page()


def test_the_example_is_valid(tmp_path):
    """The example on the page is a configuration."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    file = tmp_path / "exporter.yaml"
    file.write_text(example)

    config = load(file)

    assert yaml.safe_load(example)["metrics"]["resource_labels"] == list(config.metrics.resource_labels)
