"""The page for people."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from agent_exporter.expose.page import Link, Refusal, Source, Status, duration, page

EVIL = "<script>alert('\"&')</script>"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (3605, "1 h"), (90061, "1 d 1 h")],
)
def test_duration(seconds, expected):
    """Two units at most."""
    assert duration(seconds) == expected


def status(**changes):
    """Make a status in which one agent was seen."""
    seen = (Source("claude-code", "job", "i-1", "metrics", 90.0),)
    return Status(
        **{"version": "1", "started": 0.0, "now": 100.0, "grpc": "h:1", "http": "h:2", "sources": seen, **changes}
    )


def test_sources():
    """Who sends, and when last."""
    text = page(status())
    assert "<td>claude-code</td><td>job</td><td>i-1</td><td>metrics</td>" in text
    assert "10 s ago" in text
    assert "Nothing is connected" not in text


def test_figures():
    """What is on the page of metrics is told in series, of which a histogram is one."""
    assert "<dt>series on /metrics (a histogram is one)</dt><dd>1,510</dd>" in page(status(series=1510))


def test_nothing_connected():
    """An empty page says where to point an agent."""
    text = page(status(sources=()))
    assert "Nothing is connected yet" in text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://h:1" in text


def test_nothing_connected_and_no_grpc():
    """Without gRPC it names HTTP; without both it says so."""
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in page(status(sources=(), grpc=""))
    assert "ports are closed" in page(status(sources=(), grpc="", http=""))


def test_refusals():
    """What was refused: the most frequent first."""
    text = page(status(refusals=(Refusal("logs", "few", 1), Refusal("metrics", "many", 2000, "the last one"))))
    assert text.index("many") < text.index("few")
    assert '<td class="n">2,000</td><td>the last one</td>' in text


def test_long_tables_are_cut():
    """A table shows so many rows and says how many more there are."""
    many = tuple(Source("a", "", str(n), "logs", float(n)) for n in range(1234))
    text = page(status(sources=many))
    assert (text.count("<tr>"), "and 1,034 more" in text) == (201, True)


class Tags(HTMLParser):
    """Collects tags, and checks that they close."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, _attrs):
        """Note a tag."""
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Check that it was open."""
        assert self.open.pop() == tag


def test_everything_is_escaped():
    """Nothing that came from outside is markup, and the markup closes."""
    text = page(
        status(
            version=EVIL,
            grpc=EVIL,
            sources=(Source(EVIL, EVIL, EVIL, EVIL, 1.0),),
            refusals=(Refusal(EVIL, EVIL, 1, EVIL),),
            links=(Link(EVIL, f"/{EVIL}"),),
        )
    )
    tags = Tags()
    tags.feed(text)
    assert ("script" in tags.seen, tags.open) == (False, [])
    assert "http" not in text.replace("OTLP/HTTP", "")  # nothing is loaded from anywhere
