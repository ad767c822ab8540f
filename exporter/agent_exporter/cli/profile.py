"""`agent-exporter profile PID`: what a running Python agent spends its processor time on, as a picture.

Rule: py-spy looks from outside, so nothing has to be prepared in the agent; this file finds it, calls it and
says what went wrong. Pictures show functions and files, never values.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

import click

MISSING: Final = "py-spy is not installed; type: pip install 'agent-exporter[profile]'"
DENIED: Final = (
    "not allowed to look into process {pid}: run this as root or as the user who runs the agent; if you are that "
    "user, `sudo sysctl kernel.yama.ptrace_scope=0` allows it, in a container the capability SYS_PTRACE"
)
ENDINGS: Final = {"flamegraph": ".svg", "speedscope": ".speedscope.json"}
SHOWN_BY: Final = {"flamegraph": "any browser", "speedscope": "https://www.speedscope.app"}
_GRACE: Final = 30  # seconds that reading symbols and writing the file may take besides

# What py-spy says first -> what we say.
_REASONS: Final = {
    "permission denied": DENIED,
    "operation not permitted": DENIED,
    "failed to get process executable": "there is no process {pid}",
    "failed to find python version": "process {pid} is not a Python program that py-spy knows",
}


class ProcessId(click.IntRange):
    """The number of a process."""

    name = "pid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's signature
        """Read it; a name or anything else is no number of a process."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value} is no process id; give a number such as `pgrep -f AGENT` or `ps` shows", param, ctx)


@click.command("profile", help="Show what a running Python agent spends its processor time on.")
@click.argument("pid", type=ProcessId(min=1))
@click.option(
    "--seconds", type=click.IntRange(min=1, max=3600), default=10, show_default=True, help="How long to look."
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*ENDINGS]),
    default="flamegraph",
    show_default=True,
    help="A flame graph (SVG), or a file for speedscope.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write; profile-PID.* if not given."
)
def command(pid: int, seconds: int, form: str, output: Path | None) -> None:
    """Let py-spy record, and say where the picture is."""
    file = output or Path(f"profile-{pid}{ENDINGS[form]}")
    if not file.parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.parent}", param_hint="--output")
    found = _py_spy()
    if found is None:
        raise click.ClickException(MISSING)
    click.echo(f"looking at process {pid} for {seconds} s", err=True)
    _record([found, "record", "--pid", str(pid), "--format", form, "--output", str(file)], pid, seconds)
    click.echo(f"{file} (open it with {SHOWN_BY[form]})")


def _record(arguments: list[str], pid: int, seconds: int) -> None:
    arguments = [*arguments, "--duration", str(seconds)]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds + _GRACE, check=False)  # noqa: S603 - no shell, numbers and a path
    except (OSError, subprocess.TimeoutExpired) as error:
        raise click.ClickException(f"py-spy did not work: {error}") from error
    if done.returncode:
        raise click.ClickException(_reason(done.stderr, pid))


def _reason(told: str, pid: int) -> str:
    """Say in our words why nothing was recorded, in py-spy's if we have none."""
    known = (reason.format(pid=pid) for start, reason in _REASONS.items() if start in told.lower())
    lines = [line for line in told.splitlines() if line.strip()]
    return next(known, lines[0] if lines else "py-spy ended without a word")


def _py_spy() -> str | None:
    """Find py-spy beside the Python that runs us, else on the path."""
    return shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
