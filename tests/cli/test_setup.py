import json
import stat

import pytest
from click.testing import CliRunner

from agent_exporter.cli import main
from agent_exporter.cli.setup import command

WANTED = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "OTEL_METRIC_EXPORT_INTERVAL": "10000",
    "OTEL_LOGS_EXPORT_INTERVAL": "5000",
    "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
    "OTEL_TRACES_EXPORTER": "otlp",
}
TOY = """\
agent: toy
claims: {services: toy}
setup:
  env: {TOY: "a b", TOY_URL: "{grpc}"}
  snippets:
    - file: ~/.toy.toml
      text: |
        [otel]
        endpoint = "{http}/v1/logs"
"""


@pytest.fixture
def settings(tmp_path):
    """Return the path of a settings file that is not there yet."""
    return tmp_path / "home" / "settings.json"


def run(*arguments, answer=None):
    """Run the command and return its result."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=answer)


def write(settings, *arguments, answer=None):
    """Run the command with --write."""
    return run("claude-code", "--write", "--settings", settings, *arguments, answer=answer)


def test_show():
    """The shell lines and the block of the settings file are shown, and say the same."""
    result = run("claude-code")

    exports = dict(line.split(" ", 1)[1].split("=", 1) for line in result.output.splitlines() if "export " in line)
    block = json.loads(result.output[result.output.index("{\n") : result.output.rindex("}\n") + 1])
    assert result.exit_code == 0
    assert exports == WANTED
    assert block == {"env": WANTED}
    assert "~/.claude/settings.json" in result.output


def test_the_command_is_in_the_group():
    """The command is found by its name."""
    assert CliRunner().invoke(main, ["setup", "claude-code"]).output == run("claude-code").output


def test_endpoint():
    """Another endpoint takes the place of the default one."""
    result = run("claude-code", "--endpoint", "https://metrics.example:1234/")

    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=https://metrics.example:1234\n" in result.output
    assert "127.0.0.1" not in result.output


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "ftp://a", "http://", "grpc://a:1"])
def test_endpoint_that_is_none(endpoint):
    """An endpoint is a URL with a host."""
    result = run("claude-code", "--endpoint", endpoint)

    assert result.exit_code == 2
    assert "give a URL such as http://127.0.0.1:4318" in result.output


def test_unknown_agent():
    """An agent without setup is told which have one."""
    result = run("clod")

    assert result.exit_code == 2
    assert "no setup is known for `clod`; known: claude-code" in result.output


def test_own_dialect(tmp_path):
    """A dialect of the user brings its own setup, with text to put somewhere by hand."""
    (tmp_path / "toy.yaml").write_text(TOY)

    result = run("toy", "--dialects", tmp_path)
    refused = run("toy", "--dialects", tmp_path, "--write")

    assert "export TOY='a b'\nexport TOY_URL=http://127.0.0.1:4317\n" in result.output
    assert '# In ~/.toy.toml:\n\n[otel]\nendpoint = "http://127.0.0.1:4318/v1/logs"\n' in result.output
    assert refused.exit_code == 2
    assert "toy has no settings file that can be written" in refused.output


def test_own_dialect_with_a_mistake(tmp_path):
    """A dialect file that cannot be used is told where."""
    (tmp_path / "toy.yaml").write_text("agent: toy\n")

    result = run("toy", "--dialects", tmp_path)

    assert result.exit_code == 1
    assert f"{tmp_path / 'toy.yaml'}:1: claims: must be given" in result.output


def test_write_a_new_file(settings):
    """A settings file that is not there is made, for its owner only."""
    result = write(settings, "--yes")

    assert result.exit_code == 0
    assert json.loads(settings.read_text()) == {"env": WANTED}
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert [path.name for path in settings.parent.iterdir()] == ["settings.json"]


def test_write_keeps_the_rest(settings):
    """Other keys, their order, the indentation and the mode stay; what was there is kept beside it."""
    settings.parent.mkdir()
    env = '{\n        "KEY": "ž",\n        "OTEL_METRICS_EXPORTER": "console"\n    }'
    old = f'{{\n    "theme": "dark",\n    "env": {env}\n}}'
    settings.write_text(old)
    settings.chmod(0o640)

    result = write(settings, "--yes")

    new = settings.read_text()
    assert '-        "OTEL_METRICS_EXPORTER": "console"' in result.output
    assert '+        "OTEL_METRICS_EXPORTER": "otlp",' in result.output
    assert new.startswith(
        '{\n    "theme": "dark",\n    "env": {\n        "KEY": "ž",\n        "OTEL_METRICS_EXPORTER": "otlp"'
    )
    assert new.endswith("}")
    assert json.loads(new) == {"theme": "dark", "env": {"KEY": "ž", **WANTED}}
    assert stat.S_IMODE(settings.stat().st_mode) == 0o640
    assert settings.with_name("settings.json.bak").read_text() == old
    assert str(settings.with_name("settings.json.bak")) in result.output


def test_write_keeps_every_backup(settings):
    """A second backup does not replace the first."""
    settings.parent.mkdir()
    for number in range(2):
        settings.write_text(f'{{"number": {number}}}\n')
        write(settings, "--yes")

    backups = [settings.with_name(f"settings.json{suffix}").read_text() for suffix in (".bak", ".bak1")]
    assert backups == ['{"number": 0}\n', '{"number": 1}\n']


def test_write_asks(settings):
    """Without --yes nothing is written unless the user says so."""
    refused = write(settings, answer="n\n")
    assert refused.exit_code == 1
    assert not settings.exists()

    accepted = write(settings, answer="y\n")
    assert accepted.exit_code == 0
    assert settings.exists()


def test_write_twice(settings):
    """What is there already is not written again."""
    write(settings, "--yes")

    result = write(settings, "--yes")

    assert "says all of this already" in result.output
    assert not settings.with_name("settings.json.bak").exists()


def test_write_through_a_link(settings, tmp_path):
    """A link to a settings file stays a link."""
    settings.parent.mkdir()
    real = tmp_path / "real.json"
    real.write_text("{}")
    settings.symlink_to(real)

    write(settings, "--yes")

    assert settings.is_symlink()
    assert json.loads(real.read_text()) == {"env": WANTED}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "env": {,}\n}', ":2:11: is not JSON: "),
        ("[]", ": is not a JSON object"),
        ('{"env": []}', ": `env` is not an object"),
        ('{"a": 1, "a": 2}', ": a key is given twice in one object"),
        ("\udcff", "codec can't decode"),
    ],
)
def test_files_that_are_left_alone(settings, text, message):
    """A file that cannot be edited safely is not touched, and the error says why."""
    settings.parent.mkdir()
    old = text.encode(errors="surrogateescape")
    settings.write_bytes(old)

    result = write(settings, "--yes")

    assert result.exit_code == 1
    assert f"Error: {settings}" in result.output
    assert message in result.output
    assert settings.read_bytes() == old


def test_a_failed_write_leaves_nothing(settings, monkeypatch):
    """If the file cannot be replaced, the old one stays and no half of a new one."""
    settings.parent.mkdir()
    settings.write_text("{}\n")

    def fail(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    result = write(settings, "--yes")

    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert settings.read_text() == "{}\n"
    assert sorted(path.name for path in settings.parent.iterdir()) == ["settings.json", "settings.json.bak"]


def test_own_settings_file(tmp_path):
    """A dialect's settings may be nested and hold lists; endpoints are filled in everywhere."""
    merge = "{a: {b: {c: 1}}, exporters: [{url: '{http}'}, '{grpc}', true]}"
    text = f"agent: toy\nclaims: {{services: toy}}\nsetup:\n  settings: {{path: ~/x.json, merge: {merge}}}\n"
    (tmp_path / "toy.yaml").write_text(text)
    target = tmp_path / "x.json"

    result = run("toy", "--dialects", tmp_path / "toy.yaml", "--write", "--yes", "--settings", target)

    exporters = [{"url": "http://127.0.0.1:4318"}, "http://127.0.0.1:4317", True]
    assert result.exit_code == 0
    assert json.loads(target.read_text()) == {"a": {"b": {"c": 1}}, "exporters": exporters}
