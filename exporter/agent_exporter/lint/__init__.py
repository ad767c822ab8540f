"""Rules and dashboards held to the catalogue: whether what a user edited still names what there is.

What may live here reads the files of others (Prometheus rules, Grafana dashboards) and says what in
them cannot be. Nothing here talks to a server. `promql` understands a query, `lexicon` knows the names,
`rules` and `boards` know the files.
"""

from __future__ import annotations

from .boards import check_board
from .findings import Finding, Report, Unusable
from .lexicon import Lexicon
from .rules import RuleFile, check_rules, learn

__all__ = ["Finding", "Lexicon", "Report", "RuleFile", "Unusable", "check_board", "check_rules", "learn"]
