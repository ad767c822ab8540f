"""`agent-exporter setup AGENT`: what makes an agent report here, shown or written.

Rule: what an agent needs is data in its dialect file; this file knows no agent.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ..dialects import DialectError, Dialects, Setup
from ..dialects.coverage import coverage
from ..dialects.schema import Merge
from . import settings as files
from .listing import listing

HTTP_ENDPOINT: Final = "http://127.0.0.1:4318"
GRPC_ENDPOINT: Final = "http://127.0.0.1:4317"
HTTP_PORT: Final = 4318
GRPC_PORT: Final = 4317
_SIGNAL_PATHS: Final = ("/v1/metrics", "/v1/logs", "/v1/traces")
_CLOSE: Final = 0.5  # how alike a name must be to be meant


def _endpoint(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        url = urlsplit(value)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # a port above 65535, a bracket that is not closed
        usable = False
    if not usable:
        raise click.BadParameter(f"give a URL such as {HTTP_ENDPOINT}")
    value = value.rstrip("/")
    if end := next((end for end in _SIGNAL_PATHS if value.endswith(end)), None):
        raise click.BadParameter(f"give the address without {end}, which is added where an agent needs it")
    return value


@click.command("setup")
@click.argument("agent", required=False)
@click.option("--list", "listed", is_flag=True, help="Show what is known of each agent, or of AGENT, and what is not.")
@click.option("--write", is_flag=True, help="Write it to the agent's settings file, after showing what changes.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--settings", type=click.Path(dir_okay=False, path_type=Path), help="The agent's settings file.")
@click.option(
    "--endpoint",
    callback=_endpoint,
    metavar="URL",
    help=f"The collector's OTLP/HTTP address, {HTTP_ENDPOINT} if not given. "
    f"Agents that speak gRPC get port {GRPC_PORT} of the same host in place of {HTTP_PORT}.",
)
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
        setup(_known(agent, dialects.setups, "setup"), dialects.setups, **options)


def setup(
    agent: str, known: Mapping[str, Setup], *, write: bool, yes: bool, settings: Path | None, endpoint: str | None
) -> None:
    """Show an agent's setup, or write what of it goes into its settings file and say what does not."""
    found, ends = known[agent], _ends(endpoint)
    if not write:
        click.echo(shown(found, settings, ends))
    elif found.settings is None:
        raise click.UsageError(f"{agent} has no settings file that can be written; see `agent-exporter setup {agent}`")
    else:
        path = settings or Path(found.settings.path).expanduser()
        _warn_of(found.not_with, known, path, ends)
        _warn_of_comments(path)
        files.write(path, _filled(found.settings.merge, ends), yes=yes)
        if left := "\n\n".join(_left(found, found.settings, ends)):
            click.echo(f"\nStill to do, or to know:\n\n{left}")
    for doubt in _doubts(agent, found, ends):
        click.echo(f"Warning: {doubt}", err=True)


def _ends(endpoint: str | None) -> dict[str, str]:
    """Return both endpoints of a collector whose OTLP/HTTP address is given."""
    http = endpoint or HTTP_ENDPOINT
    url = urlsplit(http)
    grpc = url._replace(netloc=f"{url.netloc.rpartition(':')[0]}:{GRPC_PORT}") if url.port == HTTP_PORT else url
    return {"{http}": http, "{grpc}": grpc.geturl()}


def _doubts(agent: str, found: Setup, ends: Mapping[str, str]) -> Iterator[str]:
    """Say which endpoint is at a port where the other protocol may be spoken."""
    told = found.model_dump_json()
    ports = {place: urlsplit(end).port for place, end in ends.items() if place in told}
    if ports.get("{grpc}", GRPC_PORT) != GRPC_PORT:
        yield f"{agent} speaks gRPC: {ends['{grpc}']} has to be the collector's OTLP/gRPC address"
    if ports.get("{http}") == GRPC_PORT:
        yield f"{agent} speaks HTTP: {ends['{http}']} has to be the collector's OTLP/HTTP address"


def _warn_of(other: str | None, known: Mapping[str, Setup], path: Path, ends: Mapping[str, str]) -> None:
    """Warn if a settings file has a setup that should not be on together with the wanted one."""
    there = known.get(other or "")
    if there and there.settings and files.holds(path, _filled(there.settings.merge, ends)):
        text = f"{path} has what `agent-exporter setup {other}` writes, too; with both all counts twice: take one out"
        click.echo(f"Warning: {text}", err=True)


def _warn_of_comments(path: Path) -> None:
    """Warn if the user's settings are in a file of the other ending, the one for JSON with comments."""
    other = path.with_suffix(".jsonc")
    if path.suffix == ".json" and other.exists() and not path.exists():
        text = f"{other} is there and {path} is not; if you would rather have all in one file, add this there by hand"
        click.echo(f"Warning: {text}", err=True)


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
        yield "# For one shell:"
        yield _exports(found.env, ends)
    if found.settings:
        path = settings or Path(found.settings.path)
        yield f"# For every start, in {path} (--write does it):"
        yield files.merged(path, "", _filled(found.settings.merge, ends)).rstrip()
    yield from _by_hand(found, ends)


def _left(found: Setup, written: Merge, ends: Mapping[str, str]) -> Iterator[str]:
    """Write what is left to do after the settings file was written."""
    if env := {name: value for name, value in found.env.items() if not _holds(written, name)}:
        yield "# The file cannot hold these; export them where the agent starts:"
        yield _exports(env, ends)
    yield from _by_hand(found, ends)


def _holds(written: Merge, variable: str) -> bool:
    """Tell whether a settings file says what a variable says."""
    return variable in _keys(written.merge) or any(fnmatchcase(variable, glob) for glob in written.replaces or ())


def _keys(data: Mapping[str, Any]) -> Iterator[str]:
    for key, value in data.items():
        yield key
        yield from _keys(value) if isinstance(value, Mapping) else ()


def _exports(env: Mapping[str, str], ends: Mapping[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(_filled(value, ends))}" for name, value in env.items())


def _by_hand(found: Setup, ends: Mapping[str, str]) -> Iterator[str]:
    for snippet in found.snippets:
        yield f"# {snippet.file.capitalize()}:" if " " in snippet.file else f"# In {snippet.file}:"
        yield _filled(snippet.text, ends).rstrip()
    for note in found.notes:
        yield f"# {note}"
