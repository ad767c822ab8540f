"""Real servers for tests of pools: Redis and PostgreSQL, on free ports of this machine, in folders of their own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SECONDS = 30  # until a server has to answer


def free_port():
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running(command, ready, user=None):
    """Run a server until the end of the statement, from when it is ready to be talked to."""
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said, user=user) as process:
        try:
            wait_for(process, ready, said)
            yield
        finally:
            process.send_signal(2)  # what both servers take for an orderly end, which does not wait for clients
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def listens(port):
    """Say whether something takes connections at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(process, ready, said):
    """Wait until a server is ready."""
    for _ in range(SECONDS * 20):
        if ready():
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    said.seek(0)
    raise RuntimeError(f"the server did not start: {said.read().decode(errors='replace')}")


@contextlib.contextmanager
def redis_server(program):
    """Run Redis; yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        command = [program, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        with running(command, lambda: listens(port)):
            yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def postgres_server(folder_of_programs):
    """Run PostgreSQL, as a user that is not root; yields its URL without a scheme."""
    user = None if os.geteuid() else next(user for user in ("postgres", "nobody") if known(user))
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        if user:
            Path(folder).chmod(0o755)
            data.mkdir()
            os.chown(data, pwd.getpwnam(user).pw_uid, -1)
        make = [folder_of_programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-N", "-E", "UTF8"]
        subprocess.run(make, check=True, capture_output=True, user=user)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [folder_of_programs / "postgres", "-D", data, "-p", str(port)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        ask = [folder_of_programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        with running(command, lambda: subprocess.run(ask, check=False).returncode == 0, user):
            yield f"tester@127.0.0.1:{port}/postgres"


def known(user):
    """Say whether this machine has a user."""
    return user in {entry.pw_name for entry in pwd.getpwall()}


def find_postgres():
    """Find the folder of PostgreSQL's programs; Debian leaves them off the PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)
