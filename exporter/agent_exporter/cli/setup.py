"""`agent-exporter setup AGENT`: what makes an agent report here, shown or written.

Rule: what an agent needs is data in its dialect file; this file knows no agent.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ..dialects import DialectError, Dialects, Setup
from ..dialects.coverage import coverage
from . import settings as files
from .listing import listing

HTTP_ENDPOINT: Final = "http://127.0.0.1:4318"
GRPC_ENDPOINT: Final = "http://127.0.0.1:4317"
_CLOSE: Final = 0.5  # how alike a name must be to be meant


def _endpoint(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise click.BadParameter("give a URL such as http://127.0.0.1:4318")
    return value.rstrip("/")


@click.command("setup")
@click.argument("agent", required=False)
@click.option("--list", "listed", is_flag=True, help="Show what is known of each agent, or of AGENT, and what is not.")
@click.option("--write", is_flag=True, help="Write it to the agent's settings file, after showing what changes.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--settings", type=click.Path(dir_okay=False, path_type=Path), help="The agent's settings file.")
@click.option("--endpoint", callback=_endpoint, help=f"Where agent-exporter listens; {HTTP_ENDPOINT} if not given.")
@click.option(
    "--dialects",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Dialect files or folders of your own.",
)
def command(agent: str | None, *, listed: bool, paths: tuple[Path, ...], **options: Any) -> None:  # noqa: ANN401 - see setup
    """Show, or write, what makes AGENT report to agent-exporter."""
    try:
        dialects = Dialects.load(paths)
    except DialectError as error:
        raise click.ClickException(str(error)) from error
    if listed:
        click.echo(_listed(dialects, agent))
    elif agent is None:
        raise click.UsageError("name an agent, or see them all: agent-exporter setup --list")
    else:
        setup(agent, dialects.setups[_known(agent, dialects.setups, "setup")], **options)


def setup(agent: str, found: Setup, *, write: bool, yes: bool, settings: Path | None, endpoint: str | None) -> None:
    """Show an agent's setup, or write what of it goes into its settings file."""
    ends = {"{http}": endpoint or HTTP_ENDPOINT, "{grpc}": endpoint or GRPC_ENDPOINT}
    if not write:
        click.echo(shown(found, settings, ends))
    elif found.settings is None:
        raise click.UsageError(f"{agent} has no settings file that can be written; see `agent-exporter setup {agent}`")
    else:
        files.write(settings or Path(found.settings.path).expanduser(), _filled(found.settings.merge, ends), yes=yes)


def _listed(dialects: Dialects, agent: str | None) -> str:
    covered = {each.file.called: each for each in coverage(dialects.files)}
    if agent is not None:
        covered = {agent: covered[_known(agent, covered, "dialect")]}
    return listing([*covered.values()])


def _known(agent: str, known: Collection[str], what: str) -> str:
    """Return a name if it is known; else say which may be meant."""
    if agent in known:
        return agent
    near = get_close_matches(agent, known, n=3, cutoff=_CLOSE)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    raise click.UsageError(f"no {what} is known for `{agent}`; {hint}")


def _filled(value: Any, ends: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON data with the endpoints in the places that are left for them."""
    if isinstance(value, dict):
        return {key: _filled(inner, ends) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, ends) for inner in value]
    if isinstance(value, str):
        for place, end in ends.items():
            value = value.replace(place, end)
    return value


def shown(found: Setup, settings: Path | None, ends: Mapping[str, str]) -> str:
    """Write a setup as text to read and to copy."""
    return "\n\n".join(_parts(found, settings, ends))


def _parts(found: Setup, settings: Path | None, ends: Mapping[str, str]) -> Iterator[str]:
    if found.env:
        lines = (f"export {name}={shlex.quote(_filled(value, ends))}" for name, value in found.env.items())
        yield "# For one shell:"
        yield "\n".join(lines)
    if found.settings:
        path = settings or Path(found.settings.path)
        yield f"# For every start, in {path} (--write does it):"
        yield files.merged(path, "", _filled(found.settings.merge, ends)).rstrip()
    for snippet in found.snippets:
        yield f"# {snippet.file.capitalize()}:" if " " in snippet.file else f"# In {snippet.file}:"
        yield _filled(snippet.text, ends).rstrip()
    for note in found.notes:
        yield f"# {note}"
