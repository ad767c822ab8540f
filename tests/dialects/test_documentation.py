from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "dialects.md"


def test_the_example_of_the_documentation_works(dialect, event):
    """The whole dialect that the documentation shows is valid and does what it says."""
    text = DOCUMENT.read_text()
    example = text[text.index("agent: toy") :].partition("```")[0]
    attributes = {"name": "ls", "success": "true", "duration_ms": "250"}

    found = dialect(example).events(event("toy.tool_done", attributes))

    assert [(m.instrument.name, m.labels, m.value) for m in found] == [
        ("agent.tool.executions", (("agent", "toy"), ("tool", "ls"), ("status", "ok")), 1.0),
        ("agent.tool.execution.duration", (("agent", "toy"), ("tool", "ls")), 0.25),
    ]
