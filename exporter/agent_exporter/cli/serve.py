"""`agent-exporter serve`: run the collector until it is told to stop.

What may live here: flags, the process (its event loop, its memory), the ready line and the demo agent's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
from uvloop import new_event_loop

from .. import collector
from ..config import Address, Addresses, Config, ConfigError, load
from ..config.keys import FIELDS, notation
from ..config.sources import flag
from ..dialects import DialectError
from . import log

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

FLAGS = (
    ("otlp", "grpc_address"),
    ("otlp", "http_address"),
    ("web", "listen_address"),
    ("state", "path"),
    ("log", "level"),
)
# A listening address that stands for every interface, and where to reach it from this machine.
REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
MALLOPT = {-1: 32 << 20, -3: 4 << 20}  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, in bytes: mallopt(3)
DEMO_STOP = 5.0  # seconds; an export that hangs is not waited for any longer
GUIDE = """
A pretend agent is pushing. Look at

  http://{web}/         what is connected
  http://{web}/metrics  what Prometheus scrapes

Agents push to http://{http} (OTLP/HTTP) or {grpc} (OTLP/gRPC). Ctrl-C stops everything.
"""


def options(command: F) -> F:
    """Add a flag for each key of FLAGS, described as the key is."""
    for key in reversed(FLAGS):
        field = FIELDS[key]
        text = f"{field.description} Default: {notation(field).show(field.default)}."
        command = click.option(flag(key), "__".join(key), metavar="VALUE", help=text)(command)
    return command


@click.command("serve", help="Receive OTLP from agents and serve /metrics to Prometheus.")
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Configuration file (YAML).")
@options
@click.option("--demo", is_flag=True, help="Start a pretend agent too, so that metrics move.")
def command(file: Path | None, *, demo: bool, **flags: str | None) -> None:
    """Load the configuration, run the collector, and stop the demo agent with it."""
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    with contextlib.ExitStack() as stack:

        def ready(addresses: Addresses) -> None:
            if not (logger.isEnabledFor(logging.INFO) and on_one_terminal()):  # where the log has said it
                click.echo(f"ready grpc={addresses.grpc} http={addresses.http} web={addresses.web}")
            if demo:
                stack.callback(stop, start_demo(addresses.http))
                click.echo(GUIDE.format(**{door: reachable(at) for door, at in addresses._asdict().items()}), err=True)

        try:
            config = load(file, os.environ, given)
            log.start(config.log.level)
            warn(config)
            keep_memory()
            run(collector.run(config, reload=lambda: load(file, os.environ, given), ready=ready))
        except (ConfigError, DialectError, OSError) as error:
            click.echo(str(error), err=True)
            raise SystemExit(1) from None


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the collector in the fastest event loop there is."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


def keep_memory() -> None:
    """Have glibc keep some of what is freed: it would give the pages of every request back to the system."""
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & set(os.environ):
        return
    with contextlib.suppress(AttributeError, OSError):  # musl has no mallopt
        for parameter, value in MALLOPT.items():
            ctypes.CDLL(None).mallopt(parameter, value)


def warn(config: Config) -> None:
    """Say in the log what the configuration asks for and this version does not do."""
    if config.state.path is not None:
        text = "state.path is accepted, but this version writes nothing there: a restart begins at 0"
        logger.warning(text, extra={"path": config.state.path})


def reachable(door: Address) -> Address:
    """Say how a door is reached from this machine."""
    return door._replace(host=REACHABLE.get(door.host, door.host))


def on_one_terminal() -> bool:
    """Tell whether standard output and the log are read on the same terminal."""
    out, err = sys.stdout, sys.stderr
    return out.isatty() and err.isatty() and os.ttyname(out.fileno()) == os.ttyname(err.fileno())


def start_demo(door: Address) -> subprocess.Popen[bytes]:
    """Start the pretend agent in a process of its own; it pushes to the OTLP/HTTP door."""
    arguments = ["--endpoint", f"http://{reachable(door)}", "--parent", str(os.getpid())]
    module = [sys.executable, "-m", "agent_exporter.demo"]
    return subprocess.Popen(module + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - our own


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the pretend agent, by force if asking does not help."""
    child.terminate()
    try:
        child.wait(DEMO_STOP)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
