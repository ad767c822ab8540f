"""Which families there are, and how their labels are written.

What may live here: the catalogue with what is ours alone beside it, and labels in the catalogue's order; no values.
"""

from __future__ import annotations

from typing import Final

from ..catalog import CATALOG, VALUES
from ..model import Instrument, Kind, Labels

MAX_VALUE_LENGTH: Final = 128  # characters of a label's value
OTHER: Final = "other"
# Tool calls with attributes of the program's own. No family of the catalogue: there, labels are fixed; it comes
# to the page under its own name, as whatever agents push.
ATTRIBUTED: Final = Instrument(
    "agent.tool.attributed.executions",
    Kind.COUNTER,
    "{execution}",
    "Tool calls by attributes that the program gave them.",
    ("tool", "status"),
)
INSTRUMENTS: Final = {**CATALOG, ATTRIBUTED.name: ATTRIBUTED}
_SENDER: Final = ("agent", "agent_instance")  # said by the resource


def texts(instrument: Instrument, labels: dict[str, str]) -> Labels:
    """Bring labels into the catalogue's order, as texts of a limited length."""
    names = (*instrument.labels, *sorted(labels)) if instrument is ATTRIBUTED else instrument.labels
    return tuple(
        (name, str(labels[name])[:MAX_VALUE_LENGTH])
        for name in dict.fromkeys(names)
        if name in labels and name not in _SENDER and labels[name] != ""
    )


def folded(instrument: Instrument, labels: Labels) -> Labels:
    """Keep labels with a closed set of values, and fold the others."""
    return tuple((name, value if (instrument.name, name) in VALUES else OTHER) for name, value in labels)


def siblings(instrument: Instrument, labels: Labels) -> list[Labels]:
    """List the label sets that begin at 0 together with one, so that a first error is an increase."""
    if instrument.siblings is None:
        return []
    label, values = instrument.siblings
    if label not in dict(labels):
        return []
    of = {name: value for name, value in labels if name != "error_type"}
    return [texts(instrument, {**of, label: value}) for value in values]
