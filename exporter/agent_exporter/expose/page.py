"""The page for people: who sends, what was refused and why, and what to do when nobody does.

What may live here is one self-contained HTML page. Everything that came from outside is
escaped; there are no scripts, and nothing is loaded from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import chain
from typing import NamedTuple


class Source(NamedTuple):
    """Something that sent us telemetry; `last_seen` in Unix seconds."""

    agent: str
    job: str
    instance: str
    signal: str
    last_seen: float


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """What was not taken of a signal, why, how often, and what the last one was about."""

    signal: str
    reason: str
    count: int
    detail: str = ""


class Link(NamedTuple):
    """A link of the page, to a path or an address."""

    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the page shows; times in Unix seconds, addresses as host:port ("" when closed)."""

    version: str
    started: float
    now: float
    grpc: str = ""
    http: str = ""
    streams: int = 0
    series: int = 0
    sources: Sequence[Source] = ()
    refusals: Sequence[Refusal] = ()
    links: Sequence[Link] = field(default_factory=tuple)


ROWS = 200  # of a table; a page that nobody can read helps nobody
DETAIL = 300  # characters of a refusal's detail

LINKS = (Link("/metrics", "/metrics"), Link("/-/healthy", "/-/healthy"), Link("/-/ready", "/-/ready"))

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --paper: #fff; --line: #d8dee4; --tint: #f5f7f9;
  --mark: #0b62c4; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ae; --paper: #14171a; --line: #30363c;
  --tint: #1c2024; --mark: #7ab7ff; --bad: #ff8a80; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.5rem } h2 { margin: 2.5rem 0 .75rem; font-size: 1.1rem }
p { margin: .5rem 0 } a { color: var(--mark) } .soft { color: var(--soft) }
nav a { margin-right: 1rem }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0 0 }
dl div { flex: 1 1 9rem; padding: .6rem .9rem; background: var(--tint); border-radius: 8px }
dt { color: var(--soft); font-size: .85rem } dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-size: .95rem }
th { color: var(--soft); font-weight: 500; text-align: left } th, td { padding: .4rem .9rem .4rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } .bad { color: var(--bad) }
pre { overflow-x: auto; padding: .9rem; background: var(--tint); border-radius: 8px; font-size: .9rem }
"""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def page(status: Status) -> str:
    """Write the page."""
    parts = chain(
        _top(status),
        _sources(status) if status.sources else _start(status),
        _refusals(status.refusals) if status.refusals else (),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>agent-exporter</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def duration(seconds: float) -> str:
    """Write a duration in its largest two units, as people say it: `2 h 5 min`."""
    left = max(0, int(seconds))
    words = []
    for size, unit in _UNITS:
        number, left = divmod(left, size)
        if number:
            words.append(f"{number} {unit}")
        elif words:
            break  # two neighbouring units at most
        if len(words) > 1:
            break
    return " ".join(words) or "0 s"


def _top(status: Status) -> Iterable[str]:
    yield f'<h1>agent-exporter <span class="soft">{escape(status.version)}</span></h1>'
    yield '<p class="soft">AI agents push OpenTelemetry in; one set of Prometheus metrics comes out.</p>'
    yield f"<nav>{''.join(map(_link, (*LINKS, *status.links)))}</nav>"
    figures = (
        ("running for", duration(status.now - status.started)),
        ("series on /metrics (a histogram is one)", f"{status.series:,}"),
        ("streams", f"{status.streams:,}"),
        ("OTLP/gRPC", status.grpc or "off"),
        ("OTLP/HTTP", status.http or "off"),
    )
    yield "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in figures) + "</dl>"


def _start(status: Status) -> Iterable[str]:
    """Say how to connect an agent."""
    yield "<h2>Nothing is connected yet</h2>"
    yield "<p>Point an agent at this collector and start it; it appears here with its first export.</p>"
    protocol, address = ("grpc", status.grpc) if status.grpc else ("http/protobuf", status.http)
    if not address:
        yield '<p class="bad">Both OTLP ports are closed: open one in the configuration.</p>'
        return
    yield (
        f"<pre>export OTEL_EXPORTER_OTLP_PROTOCOL={protocol}\n"
        f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://{escape(address)}\n"
        "export OTEL_METRICS_EXPORTER=otlp OTEL_LOGS_EXPORTER=otlp</pre>"
    )
    yield "<p>What an agent needs beyond that: <code>agent-exporter setup AGENT</code> writes it.</p>"


def _sources(status: Status) -> Iterable[str]:
    yield "<h2>Who sends</h2>"
    rows = sorted(status.sources, key=lambda source: (-source.last_seen, source))
    yield from _table(
        ("agent", "job", "instance", "signal", "last seen"),
        (
            (s.agent, s.job or "–", s.instance or "–", s.signal, duration(status.now - s.last_seen) + " ago")
            for s in rows[:ROWS]
        ),
        {4},
    )
    yield from _more(len(rows))


def _refusals(refusals: Sequence[Refusal]) -> Iterable[str]:
    yield '<h2 class="bad">What was refused</h2>'
    rows = sorted(refusals, key=lambda refusal: (-refusal.count, refusal))
    yield from _table(
        ("signal", "reason", "count", "last"),
        ((r.signal, r.reason, f"{r.count:,}", r.detail[:DETAIL]) for r in rows[:ROWS]),
        {2},
    )
    yield from _more(len(rows))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], numeric: set[int]) -> Iterable[str]:
    """Write a table; columns in `numeric` stand right."""
    marks = [' class="n"' if column in numeric else "" for column in range(len(titles))]
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f'<th scope="col"{mark}>{title}</th>' for title, mark in zip(titles, marks, strict=True))
    yield "</tr></thead><tbody>"
    for row in rows:
        yield (
            "<tr>" + "".join(f"<td{mark}>{escape(text)}</td>" for text, mark in zip(row, marks, strict=True)) + "</tr>"
        )
    yield "</tbody></table></div>"


def _more(rows: int) -> Iterable[str]:
    if rows > ROWS:
        yield f'<p class="soft">and {rows - ROWS:,} more</p>'


def _link(link: Link) -> str:
    return f'<a href="{escape(link.href)}">{escape(link.title)}</a>'
