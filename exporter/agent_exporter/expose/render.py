"""The page: families in order, from what is kept of the last rendering.

What may live here keeps sheets by family and decides what is still good. Bytes are made in
`sheet`, constants in `shape`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from ..model import Family
from .gzip import Gzip
from .names import Escaping
from .shape import Format, Title, head, legacy_name, owned, shape, title
from .sheet import Sheet

# A page costs about 150 bytes a series to keep: one that is no longer asked for is let go.
IDLE_RENDERINGS = 20
EOF = b"# EOF\n"


@dataclass(slots=True)
class Entry:
    """What is kept of a family: comments, and sheets by bounds."""

    key: tuple[Title, str, str]
    head: bytes
    sheets: dict[tuple[float, ...], Sheet] = field(default_factory=dict)


@dataclass(slots=True)
class Page:
    """What is kept of a page in one format and escaping."""

    entries: dict[str, Entry] = field(default_factory=dict)
    gzip: Gzip = field(default_factory=Gzip)
    used: int = 0


class Renderer:
    """Renders snapshots; not thread safe, meant to live in one thread.

    `created` adds the `_created` lines of OpenMetrics (T21). Not by default: a Prometheus that
    was not told to read them as start times stores them, one more series a counter. `omitted`
    names the families that the last page left out because, after escaping, another one had
    their name or that of one of their samples.
    """

    def __init__(self, *, created: bool = False) -> None:
        self.omitted: tuple[str, ...] = ()
        self._created = created
        self._pages: dict[tuple[Format, Escaping], Page] = {}
        self._turn = 0

    def fresh(self) -> Renderer:
        """Make a renderer with the same options that remembers nothing."""
        return Renderer(created=self._created)

    def render(
        self, families: Iterable[Family], form: Format = Format.TEXT, scheme: Escaping = Escaping.UNDERSCORES
    ) -> list[bytes]:
        """Render a page, in chunks whose concatenation it is.

        Families are in order of name, tables of bounds, series of label text: equal data
        gives equal bytes. A family without visible series does not appear.
        """
        return self._chunks(self._page(form, scheme), families, form, scheme)

    def render_gzip(
        self, families: Iterable[Family], form: Format = Format.TEXT, scheme: Escaping = Escaping.UNDERSCORES
    ) -> list[bytes]:
        """Render a page as `render` does, compressed, as one gzip member."""
        page = self._page(form, scheme)
        return page.gzip.compress(self._chunks(page, families, form, scheme))

    def _page(self, form: Format, scheme: Escaping) -> Page:
        """Find what is kept for a format, and forget what nobody asks for."""
        self._turn += 1
        page = self._pages.setdefault((form, scheme), Page())
        page.used = self._turn
        self._pages = {key: kept for key, kept in self._pages.items() if self._turn - kept.used <= IDLE_RENDERINGS}
        return page

    def _chunks(self, page: Page, families: Iterable[Family], form: Format, scheme: Escaping) -> list[bytes]:
        chunks: list[bytes] = []
        # Taken out first: if something is raised midway, nothing half done is found again.
        kept, page.entries = page.entries, {}
        entries: dict[str, Entry] = {}
        omitted: list[str] = []
        taken: set[str] = set()
        named = [(legacy_name(family.name, scheme), family) for family in families]
        for name, family in sorted(named, key=lambda pair: (pair[0], pair[1].name)):
            at = title(family, name, form, taken)
            if at is None:
                omitted.append(family.name)
                continue
            taken |= owned(at)
            entry = entries[name] = _entry(kept.get(name), at, family, form)
            texts = self._texts(entry, family, form, scheme)
            if any(texts):
                chunks += (entry.head, *texts)
        page.entries, self.omitted = entries, tuple(omitted)
        return [*chunks, EOF] if form is Format.OPENMETRICS else chunks

    def _texts(self, entry: Entry, family: Family, form: Format, scheme: Escaping) -> list[bytes]:
        """Bring a family's sheets up to date and return their text; those of tables that are gone go too."""
        sheets, texts = {}, []
        for table in sorted(family.tables, key=attrgetter("bounds")):
            sheet = entry.sheets.get(table.bounds)
            if sheet is None:
                at, openmetrics = entry.key[0], form is Format.OPENMETRICS
                sheet = Sheet(shape(at, table.bounds, openmetrics=openmetrics, created=self._created), scheme)
            sheets[table.bounds] = sheet
            texts += [block.text for block in sheet.update(table)]
        entry.sheets = sheets
        return texts


def _entry(kept: Entry | None, at: Title, family: Family, form: Format) -> Entry:
    """Find what is kept of a family; a change of kind starts anew, one of help or unit only the comments."""
    key = (at, family.help, family.unit)
    if kept is None or kept.key[0] != at:
        return Entry(key, head(at, family, form))
    return kept if kept.key == key else Entry(key, head(at, family, form), kept.sheets)
