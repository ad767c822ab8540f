"""CPU of the whole process against rotel: `python benchmarks/receive.py [POINTS ...]`.

`agent-exporter serve` and rotel (an OTLP agent in Rust; its exporter is `blackhole`, batching is
off) get the same requests in turns: metrics from 16 senders, each with a connection of its own and
new times and values every time (`mixed`: and the points of a metric in another order), uncompressed.
Counted is the user and system time of the server's process with all its threads, without scrapes.
Both are pinned to the first core, the client to the second. rotel decodes and drops; ours keeps totals.

rotel is installed by pip for the run, where there is a wheel for this python; without it only our
own figures are printed. OTLP/gRPC is for information.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import grpc
import psutil
from _measure import verdict
from _payloads import CUMULATIVE, DELTA, INSTANCE, metrics

ROTEL = "rotel==0.0.1a15"
SENDERS = 16
ROUNDS, WARM = 5, 1
POINTS = 200_000  # a round
MOST = {500: 1.0}  # of rotel's CPU
METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
HEAD = (
    "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n"
)
READY = re.compile(r"ready grpc=\S+:(\d+) http=\S+:(\d+)")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Server(NamedTuple):
    """A running server and its ports."""

    process: psutil.Process
    grpc: int
    http: int

    def spent(self) -> float:
        """Tell the CPU seconds spent so far."""
        times = self.process.cpu_times()
        return times.user + times.system


# -- servers ------------------------------------------------------------------


@contextlib.contextmanager
def running(command: list[str], **rest: object) -> Iterator[subprocess.Popen]:
    """Run a server on the first core."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **rest)
    try:
        pin(process.pid, 0)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def pin(pid: int, core: int) -> None:
    """Keep a process on a core, where that can be done."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {sorted(os.sched_getaffinity(0))[core] if core == 0 else core})


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    """Run the collector with its defaults."""
    ports = [f"--{door}=127.0.0.1:0" for door in ("otlp.grpc-address", "otlp.http-address", "web.listen-address")]
    with running([sys.executable, "-m", "agent_exporter", "serve", "--log.level=error", *ports]) as process:
        found = READY.match(process.stdout.readline())
        yield Server(psutil.Process(process.pid), int(found[1]), int(found[2]))


@contextlib.contextmanager
def rotel(folder: str) -> Iterator[Server | None]:
    """Install and run rotel; None where that cannot be done."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", folder, ROTEL]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        print(f"rotel left out: pip cannot install {ROTEL} here")
        yield None
        return
    ports = free_port(), free_port()
    libraries = f"{sysconfig.get_config_var('LIBDIR')}:{os.environ.get('LD_LIBRARY_PATH', '')}"  # it needs libpython
    arguments = [
        *("--exporter", "blackhole", "--disable-batching"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{ports[0]}", "--otlp-http-endpoint", f"127.0.0.1:{ports[1]}"),
    ]
    program = str(Path(folder, "rotel", "rotel-agent"))
    with running([program, "start", *arguments], env=os.environ | {"LD_LIBRARY_PATH": libraries}) as process:
        if not listens(ports[1], process):
            print("rotel left out: it does not start here")
            yield None
            return
        yield Server(psutil.Process(process.pid), *ports)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def listens(port: int, process: subprocess.Popen) -> bool:
    """Wait until a server accepts connections, as long as its process lives."""
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.1)
    return False


# -- clients ------------------------------------------------------------------


def of_sender(body: bytes, sender: int) -> bytes:
    """Let a request come from another process of the same service."""
    return body.replace(INSTANCE, INSTANCE[:-4] + b"%04d" % sender)


def push_http(server: Server, bodies: list[bytes], senders: range) -> None:
    """Send every body once from every sender, one after another on its connection."""

    async def send(sender: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http)
        for body in bodies:
            writer.write(HEAD.format(len(body)).encode() + of_sender(body, sender))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
        writer.close()

    async def send_all() -> None:
        await asyncio.gather(*map(send, senders))

    asyncio.run(send_all())


def push_grpc(server: Server, bodies: list[bytes], senders: range) -> None:
    """Do the same over OTLP/gRPC, all senders on one connection."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call = channel.unary_unary(METHOD)
        for body in bodies:
            for answer in [call.future(of_sender(body, sender)) for sender in senders]:
                answer.result()


# -- measuring ----------------------------------------------------------------


def compare(row: int, push: Callable, points: int, temporality: int, servers: dict[str, Server], **rest: bool) -> None:
    """Print one row: CPU a request and a point, and the ratio; every row has senders of its own."""
    many = max(1, POINTS // points // SENDERS)
    made, senders = metrics(points, temporality, **rest), range(row * SENDERS, (row + 1) * SENDERS)
    spent: dict[str, list[float]] = {who: [] for who in servers}
    for turn in range(ROUNDS + WARM):
        bodies = [each.SerializeToString() for each in islice(made, many)]
        for who in sorted(servers, reverse=turn % 2 == 0):
            before = servers[who].spent()
            push(servers[who], bodies, senders)
            spent[who].append((servers[who].spent() - before) / many / SENDERS)
    costs = {who: statistics.median(taken[WARM:]) for who, taken in spent.items()}
    protocol, kind = "HTTP" if push is push_http else "gRPC", "delta" if temporality == DELTA else "cumulative"
    name = f"{protocol}, {points} points, {kind}{', mixed' if rest else ''}"
    line = f"{name:34}" + "".join(f" {costs[who] * 1e6:9.0f} {costs[who] * 1e9 / points:7.0f}" for who in servers)
    if "rotel" in servers:
        reached = statistics.median(a / b for a, b in zip(spent["ours"][WARM:], spent["rotel"][WARM:], strict=True))
        target = MOST.get(points) if push is push_http and not rest else None
        line += f" {reached:7.2f}  {verdict(reached, target, most=True)}"
    print(line, flush=True)


def main(sizes: list[int]) -> None:
    """Start both, and print the table."""
    with tempfile.TemporaryDirectory() as folder, ours() as mine, rotel(folder) as other:
        servers = {"ours": mine} | ({"rotel": other} if other else {})
        pin(os.getpid(), 1)
        print(f"{'CPU of the server':34}" + "".join(f" {who:>9} {'':>7}" for who in servers) + "   ratio  target")
        print(f"{'':34}" + f" {'µs/req':>9} {'ns/pt':>7}" * len(servers))
        cases = [(push_http, points, CUMULATIVE) for points in sizes]
        for row, case in enumerate([*cases, (push_http, 500, DELTA), (push_grpc, 50, CUMULATIVE)]):
            compare(row, *case, servers)
        compare(len(cases) + 2, push_http, 500, DELTA, servers, mixed=True)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [50, 500, 5000])
