"""One OTLP request in, its effect in the store, an answer out.

What may live here: the corridor decode → dialects → store for the three signals, and the life
of what it keeps. It is the one writer of the store: whoever calls holds its lock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from hashlib import blake2b
from threading import RLock

from ..config import Config
from ..decode import records, wire
from ..decode.records import Invalid
from ..decode.wire import Key, Origin
from ..dialects import Dialects
from ..dialects.told import SCOPE
from ..model import Answer, Family, Labels, Measurement, Rejection, Resource, Scope, Signal
from ..store import histograms
from ..store.streams import Notes
from .clients import Client, Meter, identity, scope_identity
from .intake import TOLD, Intake
from .policy import MAX_CLIENTS, METERS_PER_CLIENT, Policy
from .pushers import Pushers
from .repeats import Repeats
from .targets import Targets

Intakes = dict[Key, Intake]
Measure = Callable[[bytes, Resource, Scope, float], list[Measurement]]  # the time in Unix seconds

MAX_ORIGINS = 50_000  # writings of senders that are found without reading them

# Notes that are counters of their own; the others are points that had no effect.
_COUNTERS = {"gap": "agent_exporter.gaps", "reset": "agent_exporter.resets"}


class Ingest:
    """Takes requests as protobuf, thread safe, one at a time."""

    def __init__(self, config: Config, dialects: Dialects, clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self.policy = Policy(config, dialects, clock())
        self.ledger = self.policy.ledger
        self._targets = Targets(self.policy.families)
        self._clients: dict[Hashable, Client] = {}
        self._meters: dict[tuple[Client, Hashable], tuple[Meter, Intakes]] = {}
        self._origins: dict[Origin, tuple[Meter, Intakes, Resource, Labels]] = {}  # by what was sent, to find it fast
        self._telling: dict[tuple[Client, Hashable], str] = {}  # agents of meters of our library that push
        self.pushers = Pushers()
        self.repeats = Repeats()
        self._payloads: OrderedDict[bytes, None] = OrderedDict()
        self.lock = RLock()
        self._take = {
            Signal.METRICS: self._metrics,
            Signal.LOGS: self._logs,
            Signal.TRACES: self._traces,
        }

    def __call__(self, signal: Signal, body: bytes) -> Answer:
        """Take one Export…ServiceRequest. Raises Malformed; nothing of such a request is kept."""
        with self.lock:
            answer = self._take[signal](body)
            self.ledger.answered(signal, answer, self.clock() / 1e9)
            return answer

    def own(self, body: bytes) -> Answer:
        """Take what the collector says of itself: the same road, but nobody's request."""
        with self.lock:
            return self._metrics(body, own=True)

    def refuse(self, signal: Signal, protocol: str, reason: str) -> None:
        """Count a request that was refused before it got here; waits for nobody."""
        self.ledger.count("agent_exporter.refused.requests", signal=signal, protocol=protocol, reason=reason)
        self.ledger.refused(signal, reason, "", f"a whole request over {protocol}", 1, self.clock() / 1e9)

    def busy(self) -> bool:
        """Tell whether a request would have to wait for another one."""
        if self.lock.acquire(blocking=False):
            self.lock.release()
            return False
        return True

    # -- metrics ----------------------------------------------------------

    def _metrics(self, body: bytes, *, own: bool = False) -> Answer:
        now = self.clock()
        expected = None if own else self.repeats.take(body)
        if expected is None:
            return self._walk(body, now, own=own)
        for origin in expected.origins:
            self._meter(origin, Signal.METRICS, now, own=own)
        return Answer(expected.points)

    def _walk(self, body: bytes, now: int, *, own: bool) -> Answer:
        """Take the metrics of a request one by one; all of it is read before anything of it counts."""
        answer, intakes, raws = Answer(), [], []
        read = [(origin, _with_points(metrics)) for origin, metrics in wire.items(body)]
        senders = [origin for origin, metrics in read if metrics]
        for origin, metrics in read:
            if metrics:
                found = self._meter(origin, Signal.METRICS, now, own=own)
                intakes += [self._points(found, *metric, answer, now) for metric in metrics]
                raws += [points for _, _, points in metrics]
        taken = [(intake, points) for intake, points in zip(intakes, raws, strict=True) if intake is not None]
        if taken and len(taken) == len(raws) and not own:
            self.repeats.see(body, taken, senders)
        if self.policy.dialects.memory.told.news:
            self._reconsider()
        return answer

    def _reconsider(self) -> None:
        """Let streams of agents whose library tells more than before be resolved anew, without what they say now."""
        told = self.policy.dialects.memory.told
        for intake in self._told_by(told.news, library=False):
            intake.retire(set(intake.streams.rows.values()))
        told.news.clear()

    def _told_by(self, agents: Container[str], *, library: bool) -> list[Intake]:
        """List what agents push by our library, or by anything else."""
        return [
            intake
            for meter, intakes in self._meters.values()
            if meter.agent in agents and (meter.scope.name == SCOPE) is library
            for intake in intakes.values()
            if intake.refusal is None
        ]

    def _ask_again(self, now: float) -> None:
        """When a process that told by the library has left, let others of its agent tell again what they tell.

        What none of them tells again counts from whoever else tells it: the program has changed.
        """
        told = self.policy.dialects.memory.told
        for intake in self._told_by(told.drop(now), library=False):
            intake.unlearn()
        telling = {
            key: meter.agent
            for key, (meter, intakes) in self._meters.items()
            if meter.scope.name == SCOPE and any(not each.refusal and each.streams.rows for each in intakes.values())
        }
        left = {agent for key, agent in self._telling.items() if key not in telling}
        self._telling = telling
        told.doubt(left, now + self.policy.config.expiry.stream)
        for intake in self._told_by(left, library=True):
            intake.unlearn()

    def _points(
        self,
        found: tuple[Meter, Intakes] | Invalid,
        raw: bytes,
        key: Key,
        raws: Sequence[bytes],
        answer: Answer,
        now: int,
    ) -> Intake | None:
        """Take the points of one metric of one scope of one client; return who took them if all were plain."""
        if isinstance(found, Invalid):
            answer.rejections.append(_refuse(found, key[0].decode(errors="replace"), len(raws)))
            return None
        meter, intakes = found
        intake = intakes.get(key)
        if intake is None:
            meter.client.metrics += 1
            intake = intakes[key] = Intake(meter, wire.header(key, raw), self.policy)
        notes = intake.take(raws, answer, now)
        if notes:
            self._note(notes)
        return intake if not notes and intake.refusal is None else None

    def _note(self, notes: Notes) -> None:
        for reason, count in notes.items():
            if reason in _COUNTERS:
                self.ledger.count(_COUNTERS[reason], count)
            elif count and reason not in TOLD:
                self.ledger.count("agent_exporter.dropped.points", count, reason=reason)

    # -- logs and traces --------------------------------------------------

    def _logs(self, body: bytes) -> Answer:
        def measure(raw: bytes, resource: Resource, scope: Scope, now: float) -> list[Measurement]:
            return self.policy.dialects.events(records.event(raw, resource, scope), now)

        return self._items(Signal.LOGS, body, measure)

    def _traces(self, body: bytes) -> Answer:
        def measure(raw: bytes, resource: Resource, scope: Scope, now: float) -> list[Measurement]:
            return self.policy.dialects.spans(records.span(raw, resource, scope), now)

        return self._items(Signal.TRACES, body, measure)

    def _items(self, signal: Signal, body: bytes, measure: Measure) -> Answer:
        """Measure every record or span of a request that is not a repeated one."""
        answer, now, repeated = Answer(), self.clock(), self._repeated(body)
        for origin, raws in wire.items(body):
            found = self._meter(origin, signal, now)
            if isinstance(found, Invalid):
                answer.rejections.append(_refuse(found, "", len(raws)))
            elif repeated:
                answer.accepted += len(raws)
                self.ledger.count("agent_exporter.dropped.points", len(raws), reason="repeated_payload")
            else:
                self._measure(signal, found[0], raws, measure, answer)
        return answer

    def _measure(
        self,
        signal: Signal,
        meter: Meter,
        raws: Sequence[bytes],
        measure: Measure,
        answer: Answer,
    ) -> None:
        now, unmapped = self.clock() / 1e9, 0
        for raw in raws:
            try:
                measurements = measure(raw, meter.client.resource, meter.scope, now)
            except Invalid as error:
                answer.rejections.append(_refuse(error, "", 1))
                continue
            answer.accepted += 1
            unmapped += not measurements
            self._record(measurements, now)
        if unmapped:
            self.ledger.count("agent_exporter.unmapped.items", unmapped, agent=meter.agent, signal=signal)

    def _record(self, measurements: Iterable[Measurement], now: float) -> None:
        for measurement in measurements:
            self.policy.normalised.record(measurement, now)

    def _repeated(self, body: bytes) -> bool:
        """Tell whether this very payload was taken before: a client's retry of what we answered too late.

        Points carry the times of their interval, so that the store knows them again; events and
        spans have nothing like it, but a payload of theirs never occurs twice by itself.
        """
        digest = blake2b(body, digest_size=16).digest()
        if not body or digest in self._payloads:
            return bool(body)
        self._payloads[digest] = None
        while len(self._payloads) > self.policy.config.limits.payload_memory:
            self._payloads.popitem(last=False)
        return False

    # -- who sends --------------------------------------------------------

    def _meter(self, origin: Origin, signal: Signal, now: int, *, own: bool = False) -> tuple[Meter, Intakes] | Invalid:
        found = self._origins.get(origin)
        if found is None or found[0].own is not own:
            try:
                found = self._introduce(origin, own=own)
            except Invalid as error:
                return error
        meter, intakes, resource, target = found
        meter.client.resource, meter.client.target = resource, target  # the newest attributes win (R10)
        if not meter.own:
            self.ledger.saw(meter.source(signal), now / 1e9)
        if signal is Signal.METRICS:
            self._targets.show(meter.client.identity, meter.client.target, now / 1e9)
        return meter, intakes

    def _introduce(self, origin: Origin, *, own: bool) -> tuple[Meter, Intakes, Resource, Labels]:
        """Find who sends by what it says, not by how that is written; remember the writing."""
        resource = records.resource(origin.resource)
        scope = records.scope(origin.scope, origin.schema_url)
        client = self._client(resource, own=own)
        key = client, scope_identity(scope)
        if key not in self._meters:
            if client.meters >= METERS_PER_CLIENT:
                raise Invalid("scope_limit", f"this client has sent {METERS_PER_CLIENT} scopes already")
            client.meters += 1
            labels, agent = self.policy.describe(resource, scope, client.identity)
            self.pushers.saw(resource, agent, self.clock() / 1e9)
            self._meters[key] = Meter(client, scope, labels, agent, own), {}
        if len(self._origins) >= MAX_ORIGINS:
            self._origins.clear()
        self._origins[origin] = *self._meters[key], resource, self.policy.target(resource)
        return self._origins[origin]

    def _client(self, resource: Resource, *, own: bool) -> Client:
        key = own, identity(resource)
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= MAX_CLIENTS:
                raise Invalid("client_limit", f"the collector knows {MAX_CLIENTS} clients already")
            client = self._clients[key] = Client(resource, self.policy.identity(resource), self.policy.target(resource))
        return client

    # -- reading and life -------------------------------------------------

    def snapshot(self) -> list[Family]:
        """Copy all families as they are now."""
        with self.lock:
            now = self.clock() / 1e9
            self._record(self.policy.dialects.due(now), now)
            for intake in self._intakes():
                histograms.fold_all(intake.streams)
            return self.policy.families.snapshot()

    def _intakes(self) -> Iterable[Intake]:
        return [each for _, intakes in self._meters.values() for each in intakes.values() if each.refusal is None]

    def sweep(self) -> None:
        """Age streams and series by one interval; free what is forgotten."""
        with self.lock:
            expiry, now = self.policy.config.expiry, self.clock()
            after = [max(1, round(each / expiry.sweep)) for each in (expiry.stream, expiry.series, expiry.memory)]
            forgotten = sum(intake.sweep(now, after[0], after[2]) for intake in self._intakes())
            hidden = self.policy.families.sweep(*after)
            self.repeats.sweep()
            self.policy.normalised.unlearn()
            self._record(self.policy.dialects.sweep(now / 1e9), now / 1e9)
            self._leave()
            self._ask_again(now / 1e9)
            for kind, count in (("stream", forgotten), ("series", hidden)):
                self.ledger.count("agent_exporter.expired", count, kind=kind)

    def _leave(self) -> None:
        """Forget meters without streams and clients without meters; count anew what the others use."""
        clients = tuple(self._clients.values())
        for client in clients:
            client.streams = client.series = client.metrics = client.meters = 0
        for key, (meter, intakes) in tuple(self._meters.items()):
            for name in [name for name, each in intakes.items() if each.refusal or not len(each.streams)]:
                del intakes[name]
            if intakes:
                _tally(meter.client, intakes.values())
            else:
                del self._meters[key]
        self._origins = {origin: each for origin, each in self._origins.items() if each[1]}
        self._clients = {key: client for key, client in self._clients.items() if client.meters}
        alive = {(client.identity, client.target) for client in self._clients.values()}
        for client in clients:
            if (client.identity, client.target) not in alive:
                self._targets.withdraw(client.identity, client.target)
        self.policy.streams = sum(client.streams for client in self._clients.values())

    def adopt(self, config: Config, dialects: Dialects) -> None:
        """Follow a new configuration: every stream is resolved anew at its next point, totals stay."""
        with self.lock:
            self.policy.adopt(config, dialects)
            for meter, _ in self._meters.values():
                client = meter.client
                meter.labels, meter.agent = self.policy.describe(client.resource, meter.scope, client.identity)
            for intake in self._intakes():
                intake.unlearn()
            self.repeats.sweep()
            self.policy.normalised.unlearn()


def _with_points(metrics: Sequence[bytes]) -> list[tuple[bytes, Key, list[bytes]]]:
    """Read metrics; those without points are nobody's."""
    read = [(raw, *wire.metric(raw)) for raw in metrics]
    return [each for each in read if each[2]]


def _tally(client: Client, intakes: Iterable[Intake]) -> None:
    client.meters += 1
    for intake in intakes:
        client.metrics += 1
        client.streams += len(intake.streams)
        client.series += intake.shown()


def _refuse(error: Invalid, subject: str, count: int) -> Rejection:
    return Rejection(error.reason, subject, error.detail, count)
