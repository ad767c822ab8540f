"""`agent-exporter stack DIR`: from a wheel that was built and installed, and over what its user changed."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent_exporter.cli import main
from agent_exporter.cli.stack import files, write

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
IGNORE = ".gitignore"
COMPOSE = "docker-compose.yml"
NOTE = ".agent-exporter.json"
LINK = re.compile(r"\]\(([\w./-]+)(?:#[^)]*)?\)")


class Installed:
    """A wheel, installed in a folder of its own; its dependencies are those of whoever runs the tests."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.wheel = wheel
        self._folder = folder
        subprocess.run([*PIP, "install", "--no-deps", "--target", folder, wheel], check=True, timeout=100)

    def without_dependencies(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the wheel and the standard library alone."""
        environment = {**os.environ, "PYTHONPATH": str(self._folder)}
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self._folder, check=False, timeout=60
        )

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its `agent-exporter`, away from any clone."""
        command = [sys.executable, "-m", "agent_exporter", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(self._folder)}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self._folder, check=False, timeout=60
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel, and install it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    subprocess.run([*PIP, *build], check=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


@pytest.mark.parametrize("command", [["-m", "agent_exporter"], ["bin/agent-exporter"]])
@pytest.mark.parametrize("arguments", [["--help"], ["serve"]])
def test_the_library_alone(installed, command, arguments):
    """Where nothing but the wheel is installed, the command says in one line what the collector needs."""
    done = installed.without_dependencies(*command, *arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "only the library is installed here (click is missing); to run the collector: pip install agent-exporter\n"
    )


@pytest.fixture(scope="module")
def written(installed, tmp_path_factory):
    """Write the stack with what is installed."""
    folder = tmp_path_factory.mktemp("stack") / "here"
    done = installed.run("stack", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# -- what is written -----------------------------------------------------------


def test_it_is_what_the_repository_has(written):
    """Every file is the repository's, byte by byte, and nothing of the repository's stack is missing."""
    found = {name: data for name, data in _files(written).items() if name not in (NOTE, COMPOSE, IGNORE)}
    ours = {name: (ROOT / name).read_bytes() for name in found if not name.endswith(".whl")}
    kept = subprocess.run(
        ["git", "ls-files", "alerts", "dashboards/*.json", "dashboards/provisioning", "docs/runbooks"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )

    assert ours == {name: data for name, data in found.items() if not name.endswith(".whl")}
    assert set(kept.stdout.split()) - ours.keys() == set()


def test_links_of_its_pages_lead_somewhere(written):
    """A page that was written leads to others that were, or to the web."""
    pages = {page: LINK.findall(page.read_text()) for page in written.rglob("*.md")}
    lost = [(page.name, link) for page, links in pages.items() for link in links if not (page.parent / link).exists()]
    assert len(pages) > 70
    assert lost == []


def test_a_clone_writes_the_same(written):
    """What is found beside the source is what is in the wheel."""
    named = lambda found: {name for name in found if name != NOTE}  # noqa: E731 - said once

    assert named(_files(written)) == named(files())


def test_prometheus_and_alertmanager_take_it(program, written):
    """The servers' own programs find nothing wrong with what was written, nor does ours."""
    for command in (
        [program("promtool"), "check", "config", "alerts/prometheus.yml"],
        [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *written.glob("alerts/rules/*.yml")],
        [program("amtool"), "check-config", "alerts/alertmanager.yml"],
        [sys.executable, "-m", "agent_exporter", "check", "--rules", "alerts/rules", "--dashboards", "dashboards"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, cwd=written, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_needs_no_clone(written, installed):
    """Its image is made from a wheel beside it: all else is as in the repository."""
    ours, theirs = (ROOT / COMPOSE).read_text().splitlines(), (written / COMPOSE).read_text().splitlines()
    changed = [line for line in difflib.ndiff(ours, theirs) if line[0] in "+-"]
    mounted = [line.split(":")[0].strip(" -") for line in theirs if line.strip().startswith("- ./")]

    assert [line[1:].split()[:2] for line in changed if line[0] == "+"] == [["COPY", installed.wheel.name]]
    assert {line[1:].split()[0] for line in changed} == {"COPY", "RUN"}
    assert [path for path in mounted if not (written / path).exists()] == []
    assert len(mounted) > 5


def test_the_wheel_beside_it_is_the_one_installed(written, installed, tmp_path):
    """The wheel that was packed again has every byte of the one that was built, and makes the same stack."""
    built, packed = _members(installed.wheel), _members(written / installed.wheel.name)
    own = {name for name in built if name.endswith((".dist-info/WHEEL", ".dist-info/RECORD"))}
    again = Installed(written / installed.wheel.name, tmp_path / "again")

    assert {name: built[name] for name in built.keys() - own} == {name: packed[name] for name in packed.keys() - own}
    assert again.run("stack", tmp_path / "stack").returncode == 0
    assert _files(tmp_path / "stack") == _files(written)


# -- over what is there --------------------------------------------------------

TEXTS = {
    "written": "1 files written",
    "same": "1 were there already",
    "updated": "a/b.yml: updated",
    "yours": "a/b.yml: left as you changed it",
    "overwritten": "a/b.yml: written over",
    "kept": "a/b.yml: CHANGED BY YOU AND BY US: yours is kept, ours is beside it, in a/b.yml.new",
    "removed": "a/b.yml: removed",
    "orphaned": "a/b.yml: left as you changed it; it is part of the stack no more",
}


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Run `stack` with one file, or none, in place of all; returns the exit code and what was said."""

    def run(content, *options):
        wanted = {} if content is None else {"a/b.yml": content.encode()}
        monkeypatch.setattr("agent_exporter.cli.stack.files", lambda: wanted)
        done = CliRunner().invoke(main, ["stack", str(tmp_path), *options])
        return done.exit_code, done.output

    return run


@pytest.mark.parametrize(
    ("texts", "options", "state", "left"),
    [
        ((None, None, "1"), (), "written", "1"),
        (("1", None, "1"), (), "same", "1"),
        (("1", None, "2"), (), "updated", "2"),
        (("1", "mine", "1"), (), "yours", "mine"),
        (("1", "mine", "2"), (), "kept", "mine"),
        ((None, "mine", "1"), (), "kept", "mine"),
        (("1", "2", "2"), (), "same", "2"),
        (("1", "mine", "2"), ("--force",), "overwritten", "2"),
        (("1", "mine", "1"), ("--force",), "overwritten", "1"),
        (("1", None, None), (), "removed", None),
        (("1", "mine", None), (), "orphaned", "mine"),
        (("1", "mine", None), ("--force",), "removed", None),
    ],
)
def test_a_file_that_is_there(stack, tmp_path, texts, options, state, left):
    """What is only ours is brought up to date, what its user changed stays; exit code 1 where somebody has to look."""
    before, mine, now = texts
    file = tmp_path / "a" / "b.yml"
    if before:
        stack(before)
    if mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text(mine)
    code, said = stack(now, *options)

    assert code == (1 if state == "kept" else 0)
    assert TEXTS[state] in said
    assert (file.read_text() if file.exists() else None) == left
    assert (file.with_name("b.yml.new").exists()) == (state == "kept")


def test_what_comes_next(stack, tmp_path):
    """After an update servers have to read again, and what was changed on both sides has to be put together."""
    first, updated = stack("1")[1], stack("2")[1]
    (tmp_path / "a" / "b.yml").write_text("mine")
    both = stack("3")[1]

    assert ["signal HUP" in said for said in (first, updated, both)] == [False, True, False]
    assert ["First put together" in said for said in (first, updated, both)] == [False, False, True]
    assert all("docker compose up --detach --build " in said for said in (first, updated, both))


def test_git_leaves_secrets_out(tmp_path):
    """Who keeps the folder in git does not commit what Alertmanager sends with."""
    write(tmp_path, files(), force=False)
    (tmp_path / "alerts" / "secrets").mkdir()
    (tmp_path / "alerts" / "secrets" / "slack_url").write_text("secret")
    (tmp_path / ".env").write_text("GRAFANA_ADMIN_PASSWORD=secret")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    command = ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "alerts/alertmanager.yml" in listed
    assert [line for line in listed.splitlines() if "secrets" in line or ".env" in line] == []


def test_it_is_said_until_somebody_looked(stack, tmp_path):
    """Until ours is taken away from beside it, somebody has to look; then it is theirs until ours changes again."""
    stack("1")
    mine, beside = tmp_path / "a" / "b.yml", tmp_path / "a" / "b.yml.new"
    mine.write_text("mine")

    assert [stack(content)[0] for content in ("2", "2")] == [1, 1]
    beside.unlink()
    assert [stack(content)[0] for content in ("2", "3", "3")] == [0, 1, 1]
    assert (mine.read_text(), beside.read_text()) == ("mine", "3")


@pytest.mark.parametrize("name", ["../other.txt", "/tmp/other.txt"])
def test_a_note_that_leads_elsewhere(tmp_path, name):
    """What a note names outside the folder is not removed, whoever wrote that."""
    other = tmp_path / "other.txt"
    other.write_text("1")
    name = str(other) if name.startswith("/") else name
    folder = tmp_path / "folder"
    write(folder, {"a": b"1"}, force=False)
    digest = hashlib.sha256(b"1").hexdigest()
    (folder / NOTE).write_text(json.dumps({"files": {name: digest}}))
    write(folder, {"a": b"1"}, force=False)

    assert other.exists()


def test_a_note_that_is_broken(tmp_path):
    """Without a note of what was written nothing that differs is written over."""
    write(tmp_path, {"a": b"1"}, force=False)
    (tmp_path / NOTE).write_text("{")

    assert write(tmp_path, {"a": b"2"}, force=False) == {"a": "kept"}


def test_where_nothing_can_be_written(tmp_path):
    """A file in the place of a folder is an error, and said."""
    (tmp_path / "alerts").write_text("")
    done = CliRunner().invoke(main, ["stack", str(tmp_path)])

    assert done.exit_code == 1
    assert str(tmp_path / "alerts") in done.stderr
    assert CliRunner().invoke(main, ["stack", str(tmp_path / "alerts")]).exit_code == 2


def test_a_folder_that_cannot_be_made(tmp_path):
    """A folder that cannot be made, and a file that cannot be written, are named with the reason."""
    (tmp_path / "a").touch()
    (tmp_path / "here" / COMPOSE).mkdir(parents=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "alerts").touch()
    run = lambda folder: " ".join(CliRunner().invoke(main, ["stack", str(folder)]).stderr.split())  # noqa: E731 - short

    assert run(tmp_path / "a" / "b") == f"Error: the folder {tmp_path}/a/b cannot be made: Not a directory"
    assert run(tmp_path / "here") == f"Error: {tmp_path}/here/{COMPOSE} cannot be written: Is a directory"
    assert run(tmp_path / "there") == f"Error: {tmp_path}/there/alerts cannot be written: File exists"
