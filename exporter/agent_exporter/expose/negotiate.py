"""What a scraper wants: formats, escaping and compression, read from its headers (section 1.7).

What may live here reads headers that anyone can send. Nothing in them raises, and nothing of
them is repeated in an answer: every answer is one of the constants below.
"""

from __future__ import annotations

from typing import NamedTuple

from .names import Escaping
from .shape import Format

# A header longer than this was not written by a scraper; the rest of it is not read.
HEADER_LIMIT = 4096


class Offer(NamedTuple):
    """A format and version that we write; `escapes` says whether it has the parameter."""

    form: Format
    version: str
    escapes: bool


class Choice(NamedTuple):
    """What a page is answered in."""

    form: Format
    scheme: Escaping
    content_type: str


class Range(NamedTuple):
    """One item of an Accept header."""

    media: str
    parameters: dict[str, str]
    weight: float


OPENMETRICS = Offer(Format.OPENMETRICS, "1.0.0", escapes=True)
OPENMETRICS_OLD = Offer(Format.OPENMETRICS, "0.0.1", escapes=False)
TEXT = Offer(Format.TEXT, "1.0.0", escapes=True)
TEXT_OLD = Offer(Format.TEXT, "0.0.4", escapes=False)

# Ties go to the first: it says most. Without a version an item means the first of its type
# here; text without one has always meant 0.0.4, and so does a range of types, which is what
# browsers and curl send.
OFFERS = (OPENMETRICS, TEXT, OPENMETRICS_OLD, TEXT_OLD)
DEFAULTS = {
    "application/openmetrics-text": OPENMETRICS,
    "application/*": OPENMETRICS,
    "text/plain": TEXT_OLD,
    "text/*": TEXT_OLD,
    "*/*": TEXT_OLD,
}
_SPECIFIC = {"*/*": 0, "text/*": 1, "application/*": 1}  # of two items for one offer the narrower counts


def negotiate(accept: str, *, openmetrics: bool = True) -> Choice:
    """Choose a format: the highest weight, then our order; text 0.0.4 when nothing fits.

    `openmetrics` is false under a strategy without suffixes, whose counters OpenMetrics 1.0
    cannot hold.
    """
    wanted: dict[Offer, Range] = {}
    for item in sorted(ranges(accept), key=lambda r: _SPECIFIC.get(r.media, 2)):
        offer = _offer(item)
        if offer and (openmetrics or offer.form is Format.TEXT):
            held = wanted.get(offer)
            same = held is not None and _SPECIFIC.get(held.media, 2) == _SPECIFIC.get(item.media, 2)
            wanted[offer] = max(held, item, key=lambda r: r.weight) if held and same else item
    acceptable = [offer for offer in OFFERS if offer in wanted and wanted[offer].weight > 0]
    if not acceptable:
        return _choice(TEXT_OLD, Escaping.UNDERSCORES)
    best = max(acceptable, key=lambda offer: wanted[offer].weight)
    return _choice(best, _scheme(wanted[best]) if best.escapes else Escaping.UNDERSCORES)


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether an answer may be compressed: `gzip`, or any coding, with a weight above 0."""
    weights = {item.media: item.weight for item in ranges(accept_encoding)}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def ranges(header: str) -> list[Range]:
    """Read the items of an Accept or Accept-Encoding header; one with a bad weight is left out."""
    items = []
    for item in header[:HEADER_LIMIT].split(","):
        media, *rest = item.split(";")
        pairs = (parameter.partition("=") for parameter in rest)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        weight = _weight(parameters.get("q", "1"))
        if media.strip() and weight is not None:
            items.append(Range(media.strip().lower(), parameters, weight))
    return items


def _weight(text: str) -> float | None:
    """Read a weight, 0 to 1 with digits only (RFC 9110, 12.4.2); None if it is none."""
    if not text.isascii() or not text.replace(".", "", 1).isdigit() or len(text) > len("0.000"):
        return None
    weight = float(text)
    return weight if weight <= 1 else None


def _offer(item: Range) -> Offer | None:
    """Find what of ours an item names."""
    version = item.parameters.get("version")
    if version is None or item.media in _SPECIFIC:
        return DEFAULTS.get(item.media)
    return next((offer for offer in OFFERS if (offer.form, offer.version) == (item.media, version)), None)


def _scheme(item: Range) -> Escaping:
    """Read the `escaping` parameter; anything unknown is underscores."""
    name = item.parameters.get("escaping", "")
    return Escaping(name) if name in set(Escaping) else Escaping.UNDERSCORES


def _choice(offer: Offer, scheme: Escaping) -> Choice:
    escaping = f"; escaping={scheme}" if offer.escapes else ""
    return Choice(offer.form, scheme, f"{offer.form}; version={offer.version}; charset=utf-8{escaping}")
