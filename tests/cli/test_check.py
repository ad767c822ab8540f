import pytest
from click.testing import CliRunner

from agent_exporter.cli import main


@pytest.fixture
def check(monkeypatch):
    """Run `agent-exporter check` without the variables of whoever runs the tests."""
    monkeypatch.delenv("AGENT_EXPORTER_LOG_LEVEL", raising=False)
    return lambda *arguments: CliRunner().invoke(main, ["check", *map(str, arguments)])


def test_defaults_are_valid(check):
    """Without a file the defaults and the built-in dialects are checked."""
    result = check()

    assert result.exit_code == 0, result.stderr
    assert result.stdout == "configuration: the defaults are valid\ndialects: those built in are valid\n"


def test_a_valid_file(check, tmp_path):
    """A valid file is named as such."""
    file = tmp_path / "exporter.yaml"
    file.write_text("expiry: {stream: 10m}\n")

    result = check("--config", file)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"configuration: {file} is valid\n")


def test_a_wrong_configuration(check, tmp_path):
    """A mistake in the file goes to standard error with its line, and the exit code is 1."""
    file = tmp_path / "exporter.yaml"
    file.write_text("expiry:\n  stream: 10\n")

    result = check("--config", file)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"{file}:2: expiry.stream: 10 is not allowed; allowed: a duration")


def test_a_wrong_configuration_does_not_hide_the_rest(check, tmp_path):
    """Rules and boards are looked at though the configuration is wrong; each mistake is told."""
    file, rules, board = (tmp_path / name for name in ("exporter.yaml", "rules.yml", "board.json"))
    file.write_text("expiry:\n  stream: 10\n")
    rules.write_text("groups: [{name: mine, rules: [{record: a:b, expr: agent_toosl}]}]")
    board.write_text('{"panels": []}')

    result = check("--config", file, "--rules", rules, "--dashboards", board)

    assert result.exit_code == 1
    assert result.stdout == f"{board}: all that its 0 queries name is there\n"
    assert f"{file}:2: expiry.stream" in result.stderr
    assert "there is no series `agent_toosl`" in result.stderr


def test_a_wrong_price(check, tmp_path):
    """A mistake in a price is named with its line and its entry."""
    file = tmp_path / "exporter.yaml"
    file.write_text("prices:\n  models:\n  - model: acme\n    input: free\n    output: 0\n")

    result = check("--config", file)

    assert result.exit_code == 1
    assert result.stderr == (
        f"{file}:4: prices.models[0].input: 'free' is not allowed; "
        "allowed: US dollars for a million tokens, 0 or more\n"
    )


def test_a_wrong_variable(check, monkeypatch):
    """The environment is checked too."""
    monkeypatch.setenv("AGENT_EXPORTER_LOG_LEVEL", "loud")

    result = check()

    assert result.exit_code == 1
    assert result.stderr.startswith("AGENT_EXPORTER_LOG_LEVEL: log.level: 'loud' is not allowed")


def test_a_wrong_dialect(check, tmp_path):
    """A mistake in a dialect file goes to standard error with file and line, and the exit code is 1."""
    dialect = tmp_path / "mine.yaml"
    dialect.write_text("agent: mine\ncliams: {}\n")
    file = tmp_path / "exporter.yaml"
    file.write_text("dialects: {paths: [mine.yaml]}\n")

    result = check("--config", file)

    assert result.exit_code == 1
    assert result.stdout == f"configuration: {file} is valid\n"
    assert f"{dialect}:2: " in result.stderr


def test_a_missing_dialect(check, tmp_path):
    """A dialect file that is not there is named, with the key and the line that ask for it; the file is not valid."""
    file = tmp_path / "exporter.yaml"
    file.write_text("dialects: {paths: [none.yaml]}\n")

    result = check("--config", file)

    assert (result.exit_code, result.stdout) == (1, "")
    reason = f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory"
    assert result.stderr == f"{file}:1: dialects.paths: {reason}\n"
