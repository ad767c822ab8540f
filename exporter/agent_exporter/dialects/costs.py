"""What tokens cost, for agents that do not say so themselves.

Rule: turns what feeds agent.tokens into what feeds agent.cost.usd or agent.cost.unpriced_tokens.
Prices come from outside; without them nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from ..catalog import CATALOG
from ..model import Instrument, Labels

TOKENS: Final = CATALOG["agent.tokens"]
COST: Final = CATALOG["agent.cost.usd"]
UNPRICED: Final = CATALOG["agent.cost.unpriced_tokens"]
REMEMBERED: Final = 10_000  # label sets whose price is known


class Prices(Protocol):
    """Who knows what tokens cost."""

    def price(self, provider: str, model: str) -> Mapping[str, float] | None:
        """Return US dollars a token by type of agent.tokens, None if the model is unknown.

        `provider` and `model` are the labels, "" where there is none. A type that is not in the
        answer has no price. The answer is remembered until `Costs.refresh`.
        """


class Rate(NamedTuple):
    """What a token adds to."""

    instrument: Instrument
    labels: Labels
    amount: float


class Costs:
    """Prices by label sets of agent.tokens."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._rates: dict[Labels, Rate] = {}

    def rate(self, labels: Labels) -> Rate:
        """Say what a token of these labels costs, or that it has no price."""
        rate = self._rates.get(labels)
        if rate is None:
            if len(self._rates) >= REMEMBERED:
                self._rates.clear()
            rate = self._rates[labels] = self._look_up(labels)
        return rate

    def refresh(self) -> None:
        """Ask for every price anew: prices change with the date."""
        self._rates.clear()

    def _look_up(self, labels: Labels) -> Rate:
        of = dict(labels)
        found = self._prices.price(of.get("provider", ""), of.get("model", ""))
        price = None if found is None else found.get(of.get("type", ""))
        if price is None:
            return Rate(UNPRICED, tuple(each for each in labels if each[0] in UNPRICED.labels), 1.0)
        kept = tuple(each for each in labels if each[0] in COST.labels)
        return Rate(COST, (*kept, ("basis", "estimated")), price)
