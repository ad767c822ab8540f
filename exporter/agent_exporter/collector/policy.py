"""What configuration and dialects decide about a stream: the one object an intake asks.

What may live here: compiled answers (which metrics pass, which attributes stay, who may still
open a stream), nothing that a point has to ask again once its stream is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import lru_cache

from ..catalog import CATALOG, SHARED
from ..config import Config
from ..decode.records import Invalid
from ..dialects import Dialects
from ..dialects.privacy import DROP_ATTRIBUTES, compile_drop
from ..expose.labels import NAMES, block, job_instance, label_pairs, target_labels, value_text
from ..expose.names import Strategy
from ..model import Attributes, Feed, Labels, Metric, Resource, Scope, Value
from ..store.families import Families
from .clients import Meter
from .ledger import Ledger
from .normalised import Normalised

_IDS = ("trace_id", "span_id")
_IDENTITY = ("service.namespace", "service.name", "service.instance.id")
NAME_LENGTH = 256  # characters of the name of a metric, a unit or a label
METRICS_PER_CLIENT = 10_000  # names, with or without a good point
METERS_PER_CLIENT = 1_000
MAX_CLIENTS = 20_000  # resources known at once; a client that sends only events costs one too


class Policy:
    """Compiled configuration and dialects, and the shared parts that every intake needs."""

    def __init__(self, config: Config, dialects: Dialects, started: int) -> None:
        self.ledger = Ledger()
        self.families = Families(config.limits.series_per_metric)
        self.strategy = Strategy(config.metrics.translation_strategy)
        self.normalised = Normalised(self.families, self.strategy, self.ledger)
        self.streams = 0
        self._started = started
        self.adopt(config, dialects)

    def adopt(self, config: Config, dialects: Dialects) -> None:
        """Follow a new configuration; what is bound at start (addresses, strategy) stays."""
        self.config, self.dialects = config, dialects
        self.families.limit = config.limits.series_per_metric
        self.feeds: Callable[[Resource, Scope, Metric, Attributes, float], list[Feed]] = dialects.feeds
        self.normalised.define(dialects.instruments)
        passed = config.metrics.pass_through
        self._included, self._excluded = _globs(passed.include), _globs(passed.exclude)
        drops = DROP_ATTRIBUTES if config.metrics.drop_attributes is None else config.metrics.drop_attributes
        drop, keep = compile_drop(drops), _globs(config.metrics.keep_attributes)
        self._may_label = lru_cache(NAMES)(lambda key: keep(key) or not drop(key))
        self._copied = _globs(config.metrics.resource_labels)

    def passes(self, name: str, *, own: bool) -> bool:
        """Tell whether a metric is exposed under its own name; one of the catalogue is normalised already."""
        return (
            self.config.metrics.pass_through.enabled
            and (name not in CATALOG or self.foreign(name, own=own))
            and self._included(name)
            and not self._excluded(name)
        )

    def foreign(self, name: str, *, own: bool) -> bool:
        """Tell whether a metric has a name of the catalogue, but is about another machine."""
        return not own and name in CATALOG and name.startswith(SHARED)

    def keep(self, attributes: Attributes) -> Attributes:
        """Return the attributes that may become labels of anything, long values cut."""
        return {
            key[:NAME_LENGTH]: self._cut(self._inside(value))
            for key, value in attributes.items()
            if self._may_label(key)
        }

    def _inside(self, value: Value) -> Value:
        """Look for what may not be a label inside of maps and arrays too."""
        if isinstance(value, dict):
            return {key: self._inside(each) for key, each in value.items() if self._may_label(key)}
        if isinstance(value, list):
            return [self._inside(each) for each in value]
        return value

    def sampled(self, attributes: Attributes) -> bytes:
        """Return the label block of an exemplar: what may be a label, and the ids that an exemplar is for."""
        ids = {key: value for key, value in attributes.items() if key in _IDS}
        return block(label_pairs(self.keep(attributes) | ids, self.strategy)[0])

    def _cut(self, value: Value) -> Value:
        plain = value is None or isinstance(value, (bool, int, float))
        return value if plain else value_text(value)[: self.config.limits.label_value_length]

    def describe(self, resource: Resource, scope: Scope, identity: Labels) -> tuple[Labels, str]:
        """Return the labels of all that a meter passes through, and the agent's canonical name."""
        copied = {key: value for key, value in self.keep(resource.attributes).items() if self._copied(key)}
        labels = (*label_pairs(copied, self.strategy)[0], *self._scope_labels(scope), *identity)
        return tuple(dict(labels).items()), self.dialects.agent(resource, scope)

    def _scope_labels(self, scope: Scope) -> Labels:
        """Return the `otel_scope_*` labels (R7, R8)."""
        if not self.config.metrics.scope_labels:
            return ()
        fixed: Attributes = {
            "otel_scope_name": self._cut(scope.name),
            "otel_scope_version": self._cut(scope.version),
            "otel_scope_schema_url": self._cut(scope.schema_url),
        }
        own = {f"otel_scope_{key}": value for key, value in self.keep(scope.attributes).items()}
        return label_pairs(own | fixed, self.strategy)[0]

    def identity(self, resource: Resource) -> Labels:
        """Return a client's job and instance (R1, R2)."""
        return job_instance(self._who(resource))

    def target(self, resource: Resource) -> Labels:
        """Return the labels of a client's `target_info` (R3)."""
        return target_labels(self.keep(resource.attributes) | self._who(resource), self.strategy)

    def _who(self, resource: Resource) -> Attributes:
        return {key: self._cut(resource.attributes[key]) for key in _IDENTITY if key in resource.attributes}

    def admit(self, meter: Meter) -> None:
        """Let a client open one more stream. Raises Invalid when a limit is reached.

        The collector's own are always let in: a limit that is reached must not hide the count of what it refuses.
        """
        limits, client = self.config.limits, meter.client
        if self.streams >= limits.streams and not meter.own:
            raise Invalid("stream_limit", f"the collector tracks {limits.streams} streams already (limits.streams)")
        if client.streams >= limits.streams_per_client and not meter.own:
            detail = f"this client has {limits.streams_per_client} streams already (limits.streams_per_client)"
            raise Invalid("client_stream_limit", detail)
        self.streams += 1
        client.streams += 1

    def exhausted(self, meter: Meter) -> bool:
        """Tell whether a client's next new series goes to the overflow series."""
        return meter.client.series >= self.config.limits.series_per_client and not meter.own

    def baseline(self, start: int) -> bool:
        """Tell whether a running total that began then counts from its first sight on only."""
        return self.config.metrics.initial_value == "baseline" and start < self._started


def _globs(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Compile globs to a test of one name."""
    if not patterns:
        return lambda _: False
    if "*" in patterns:
        return lambda _: True
    match = re.compile("|".join(translate(pattern) for pattern in patterns)).match
    return lambda name: match(name) is not None
