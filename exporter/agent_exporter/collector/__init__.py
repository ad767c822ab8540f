"""The corridor: builds the rooms, connects them, starts and stops them.

What may live here: wiring and the order of things. `ingest` is the way in, `telemetry` what is
said of it; only this room counts what the pure rooms return.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from .. import __version__, web
from ..config import Address, Addresses, Config, ConfigError
from ..config.sources import flag
from ..dialects import DialectError, Dialects, Memory
from ..expose.app import App
from ..expose.names import Strategy
from ..expose.page import Status
from ..expose.render import Renderer
from ..model import Answer, Family, Signal
from ..prices import Price, Prices
from ..receive import grpc, http
from ..sample import Machine, Push, Reading, Sampler, Settings
from . import telemetry
from .ingest import Ingest

log = logging.getLogger("agent_exporter")

# Keys whose change needs a restart: doors are opened with them, names and pages made.
_BOUND_AT_START = (
    *("otlp", "web", "state", "metrics.translation_strategy", "metrics.created"),
    *("limits.body_bytes", "limits.in_flight_requests", "limits.in_flight_bytes", "limits.connections"),
    *("limits.header_timeout", "limits.body_timeout", "limits.idle_timeout", "limits.shutdown_timeout"),
)
OTHER_FILES = 128  # open beside the connections of the three doors
_LOCAL = ("127.0.0.1", "::1", "localhost")


class Collector:
    """All rooms of one process; `reload` reads the configuration again."""

    def __init__(self, config: Config, reload: Callable[[], Config]) -> None:
        self.config = config
        self._begun = config  # what the doors, names and pages are made with, whatever is read later
        self._read = reload
        memory = Memory(config.limits.label_values)
        self.ingest = Ingest(config, Dialects.load(config.dialects.paths, prices=_prices(config), memory=memory))
        self.started = self.ingest.clock() / 1e9
        self.renderer = Renderer(created=config.metrics.created)
        self.machine = Machine()
        self.sampler = Sampler(__version__, self.readings, self.ingest.own, self.look)
        self._sampling = threading.Lock()
        self.is_ready = False
        self.addresses = Addresses(config.otlp.grpc_address, config.otlp.http_address, config.web.listen_address)
        strategy = Strategy(config.metrics.translation_strategy)
        self.app = App(
            snapshot=self.snapshot,
            status=self.status,
            reload=self.reload,
            ready=lambda: self.is_ready,
            observe=self._observe,
            renderer=self.renderer,
            openmetrics=strategy.suffixes,
        )

    # -- what the doors call ------------------------------------------------

    def take(self, protocol: str, kind: Signal, body: bytes) -> Answer:
        """Take one OTLP request that came over a protocol."""
        answer = self.ingest(kind, body)
        self.ingest.ledger.count("agent_exporter.requests", signal=kind, protocol=protocol)
        for each in answer.rejections:
            log.debug("rejected", extra={"signal": kind, "reason": each.reason, "metric": each.subject})
        return answer

    def refuse(self, kind: Signal, protocol: str, reason: str) -> None:
        """Count a request that never got to be taken."""
        self.ingest.refuse(kind, protocol, reason)

    def turn_away(self, protocol: str, reason: str) -> None:
        """Count a client that was turned away before it said what it sends."""
        self.ingest.ledger.count("agent_exporter.refused.requests", signal="", protocol=protocol, reason=reason)

    def snapshot(self) -> list[Family]:
        """Sample the collector itself, then copy all families."""
        self.sample()
        return self.ingest.snapshot()

    def sample(self) -> None:
        """Push what the collector knows of itself; a failure costs these values and no others."""
        with self._sampling:
            try:
                self.sampler.collect()
            except Exception as error:  # noqa: BLE001 - of psutil and the system, in many kinds
                log.error("sampling failed", extra=_what(error))  # noqa: TRY400 - its text may quote anything

    def readings(self) -> list[Reading]:
        """Read what the collector knows of itself."""
        return [
            *telemetry.readings(self.ingest),
            Reading("agent_exporter.omitted.families", (), len(self.renderer.omitted)),
        ]

    def look(self) -> list[Reading] | None:
        """Look at the machine if it is time, which is before its gauges would leave the page."""
        sample = self.config.sample
        interval = min(sample.interval, self.config.expiry.stream / 2)
        settings = Settings(interval, sample.host, sample.processes, sample.uss)
        return self.machine.read(settings, self.ingest.policy.dialects.processes, self.pushed)

    def pushed(self) -> list[Push]:
        """List the processes that pushed, of this machine and others."""
        with self.ingest.lock:
            return self.ingest.pushers.read()

    def _observe(self, seconds: float, size: int) -> None:
        self.sampler.record("agent_exporter.scrape.duration", seconds)
        self.sampler.record("agent_exporter.scrape.size", size)

    def status(self) -> Status:
        """Tell people what is going on."""
        return telemetry.status(self.ingest, self.started, self.addresses)

    def reload(self) -> str:
        """Follow a changed configuration and changed dialects, or keep both; raises ValueError, which says why."""
        try:
            config = self._read()
            memory = self.ingest.policy.dialects.memory
            dialects = Dialects.load(config.dialects.paths, prices=_prices(config), memory=memory)
        except (ConfigError, DialectError, OSError) as error:
            self.ingest.ledger.count("agent_exporter.config.reloads", result="failure")
            log.error("reload failed, the old configuration stays", extra={"error": str(error)})  # noqa: TRY400
            raise ValueError(str(error)) from None
        late = [key for key in _BOUND_AT_START if _at(config, key) != _at(self._begun, key)]
        memory.bounds.limit = config.limits.label_values
        self.ingest.adopt(config, dialects)
        self.ingest.ledger.count("agent_exporter.config.reloads", result="success")
        self.config = config
        log.setLevel(config.log.level.upper())
        message = "reloaded" + (f"; a change of {', '.join(late)} needs a restart" if late else "")
        log.info(message)
        return message

    # -- life ---------------------------------------------------------------

    async def sweep(self) -> None:
        """Age streams and series for ever, off the loop; sampling keeps the collector's own alive."""
        while True:
            await asyncio.sleep(self.config.expiry.sweep)
            await asyncio.to_thread(self.sample)
            try:
                await asyncio.to_thread(self.ingest.sweep)
            except Exception as error:  # noqa: BLE001 - the next sweep must come all the same
                log.error("sweep failed", extra=_what(error))  # noqa: TRY400

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the doors; on the way out close the OTLP doors first, so that a last scrape sees all of it."""
        limits, addresses = self._begun.limits, self.addresses
        doors = web.Limits(limits.connections, header_timeout=limits.header_timeout, idle_timeout=limits.idle_timeout)
        with _told_of("otlp", "grpc_address"):
            rpc = self._grpc_door(addresses.grpc)
        try:
            with _told_of("otlp", "http_address"):
                otlp = await web.serve(self._http_door(), *addresses.http, doors, partial(self.turn_away, "http"))
            with _told_of("web", "listen_address"):
                page = await web.serve(self.app, *addresses.web, doors, partial(self.turn_away, "web"))
        except OSError:
            await asyncio.to_thread(rpc.stop, 0)
            raise
        rpc.start()
        ports = (rpc.port, otlp.port, page.port)
        self.addresses = Addresses(*(Address(at.host, port) for at, port in zip(addresses, ports, strict=True)))
        self.is_ready = True
        try:
            yield
        finally:
            self.is_ready = False
            grace = limits.shutdown_timeout / 2
            await asyncio.gather(asyncio.to_thread(rpc.stop, grace), otlp.stop(grace))
            await page.stop(grace)
            self.app.close()

    def _grpc_door(self, at: Address) -> grpc.Server:
        limits = self._begun.limits
        return grpc.Server(
            partial(self.take, "grpc"),
            self.refuse,
            *at,
            grpc.Limits(
                body_bytes=limits.body_bytes,
                body_timeout=limits.body_timeout,
                in_flight_requests=limits.in_flight_requests,
                connections=limits.connections,
                header_timeout=limits.header_timeout,
                idle_timeout=limits.idle_timeout,
            ),
        )

    def _http_door(self) -> http.Door:
        limits = self._begun.limits
        return http.Door(
            partial(self.take, "http"),
            self.refuse,
            http.Limits(
                body_bytes=limits.body_bytes,
                body_timeout=limits.body_timeout,
                in_flight_requests=limits.in_flight_requests,
                in_flight_bytes=limits.in_flight_bytes,
            ),
            frozenset(self._begun.otlp.cors_origins),
            self.ingest.busy,
        )


@contextlib.contextmanager
def _told_of(*key: str) -> Iterator[None]:
    """Say of a door that cannot be opened which flag and which key give it another address."""
    try:
        yield
    except OSError as error:
        text = str(error.strerror).replace(os.strerror(errno.EADDRINUSE), "another program has that port")
        raise OSError(f"{text}; choose another address with {flag(key)} or {'.'.join(key)}") from error


def _prices(config: Config) -> Prices:
    return Prices([Price(**each.model_dump()) for each in config.prices.models])


def _what(error: Exception) -> dict[str, str]:
    return {"error": type(error).__name__, "place": web.place(error)}


def _at(config: Config, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


async def run(config: Config, *, reload: Callable[[], Config], ready: Callable[[Addresses], None]) -> None:
    """Run a collector until SIGTERM or SIGINT; SIGHUP reloads. Raises OSError when an address is taken."""
    _allow_files(config)
    collector = Collector(config, reload)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def reload_and_stay() -> None:
        with contextlib.suppress(ValueError):  # said in the log already
            collector.reload()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, reload_and_stay))
    async with collector.open():
        _announce(collector.addresses)
        ready(collector.addresses)
        sweeping = asyncio.create_task(collector.sweep())
        await stop.wait()
        log.info("stopping", extra={"limit": config.limits.shutdown_timeout})
        sweeping.cancel()
    log.info("stopped")


def _allow_files(config: Config) -> None:
    """Raise the soft limit of open files, if need be, so that connections run out before descriptors do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * config.limits.connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        if reachable < wanted:
            log.warning("too few open files allowed", extra={"allowed": reachable, "wanted": wanted})


def _announce(addresses: Addresses) -> None:
    log.info("ready", extra={door: str(at) for door, at in addresses._asdict().items()})
    if any(at.host in _LOCAL for at in addresses):
        log.info(
            "only this machine can connect; to open a door give it another address",
            extra={"example": "--otlp.http-address=0.0.0.0:4318"},
        )
