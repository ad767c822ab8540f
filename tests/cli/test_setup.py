import json
import stat
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent_exporter.cli import main
from agent_exporter.cli.setup import command, shown
from agent_exporter.dialects.coverage import GROUPS, coverage
from otlp import dialects

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


@pytest.mark.parametrize(
    ("agent", "endpoint", "written", "warning"),
    [
        ("gemini-cli", "http://box:4318", "http://box:4317", ""),
        ("qwen-code", "https://[::1]:4318/", "https://[::1]:4317", ""),
        ("gemini-cli", "http://box:4317", "http://box:4317", ""),
        (
            "gemini-cli",
            "http://box:9",
            "http://box:9",
            "Warning: gemini-cli speaks gRPC: http://box:9 has to be the collector's OTLP/gRPC address\n",
        ),
        (
            "openclaw",
            "http://box:4317",
            "http://box:4317",
            "Warning: openclaw speaks HTTP: http://box:4317 has to be the collector's OTLP/HTTP address\n",
        ),
    ],
)
def test_endpoint_for_grpc(agent, endpoint, written, warning, tmp_path):
    """Agents that speak gRPC get its port on the same host; where a port may be the wrong one, that is said."""
    target = tmp_path / "settings.json"
    shown = run(agent, "--endpoint", endpoint)
    result = run(agent, "--endpoint", endpoint, "--write", "--yes", "--settings", target)

    assert f'"{written}"' in shown.stdout
    assert f'"{written}"' in target.read_text()
    assert (shown.stderr, result.stderr) == (warning, warning)


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "ftp://a", "http://", "grpc://a:1", "http://a:99999", "http://[::1", "http://a:0"]
)
def test_endpoint_that_is_none(endpoint):
    """An endpoint is a URL with a host."""
    result = run("claude-code", "--endpoint", endpoint)

    assert result.exit_code == 2
    assert "give a URL such as http://127.0.0.1:4318" in result.output


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs/", "/under/v1/traces"])
def test_endpoint_of_one_signal(path):
    """The paths of the signals are ours to add; who gives one is told to leave it out."""
    result = run("codex", "--endpoint", f"http://a:4318{path}")

    assert result.exit_code == 2
    assert f"give the address without {path.removeprefix('/under').rstrip('/')}, " in result.output


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("claude", "did you mean claude-code"),
        ("gemini", "did you mean gemini-cli"),
        ("zz", "known: claude-code, codex, "),
    ],
)
def test_unknown_agent(name, hint):
    """Who names an agent that is not known is told which may be meant, or which there are."""
    for arguments in ([name], [name, "--write"]):
        result = run(*arguments)

        assert result.exit_code == 2
        assert f"no setup is known for `{name}`; {hint}" in result.output
    assert f"no dialect is known for `{name}`; did" in run(name, "--list").output or name == "zz"


def test_no_agent():
    """Who names none is told how to see all."""
    result = run()

    assert result.exit_code == 2
    assert "agent-exporter setup --list" in result.output


def test_list():
    """The list has a line and the gaps of every dialect, in 80 columns; it says what the documentation says."""
    result = run("--list")

    lines = result.output.splitlines()
    table = {line.split()[0]: line.split()[1:] for line in lines[1 : lines.index("")]}
    covered = {each.file.called: each for each in coverage(dialects().files)}
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert table == {name: [each.cell(group) or "–" for group in GROUPS] for name, each in covered.items()}
    told = " ".join(result.output.split())
    for each in covered.values():
        assert [text for text in (*each.file.gaps, *each.file.untold.values()) if text not in told] == []


def test_list_one():
    """A name with the list leaves out all others."""
    result = run("codex", "--list")

    assert "A shell command that fails is a tool call that worked" in result.output
    assert "Nothing tells of: runtime, GC and queues." in result.output
    assert "gemini" not in result.output


def test_list_of_an_own_dialect(tmp_path):
    """A dialect of the user is in the list too."""
    (tmp_path / "toy.yaml").write_text(TOY + "gaps: [It tells nothing at all.]\n")

    result = run("toy", "--list", "--dialects", tmp_path)

    assert "  - It tells nothing at all.\n" in result.output


def test_every_setup_can_be_shown():
    """Every agent's endpoints are filled in, and something names them."""
    ends = {"{http}": "http://a.example:1", "{grpc}": "http://b.example:2"}

    texts = {agent: shown(found, None, ends) for agent, found in dialects().setups.items()}

    assert [agent for agent, text in texts.items() if "{http}" in text or "{grpc}" in text] == []
    assert [agent for agent, text in texts.items() if not any(end in text for end in ends.values())] == []


# What made the agents report when the captures were made (tests/captures/README.md).
MADE_WITH = {
    "codex": {
        "otel": {
            "log_user_prompt": False,
            "exporter": {"otlp-http": {"endpoint": "http://127.0.0.1:4318/v1/logs", "protocol": "binary"}},
            "metrics_exporter": {"otlp-http": {"endpoint": "http://127.0.0.1:4318/v1/metrics", "protocol": "binary"}},
        }
    },
    "gemini-cli": {
        "telemetry": {
            "enabled": True,
            "target": "local",
            "otlpProtocol": "grpc",
            "otlpEndpoint": "http://127.0.0.1:4317",
            "logPrompts": False,
        }
    },
    "opencode": {"experimental": {"openTelemetry": True}},
}
MADE_WITH["qwen-code"] = MADE_WITH["gemini-cli"]


@pytest.mark.parametrize("agent", MADE_WITH)
def test_settings_are_what_the_captures_were_made_with(agent, tmp_path):
    """What is written is what made the agent report, in the format of its settings file; twice changes nothing."""
    declared = Path(dialects().setups[agent].settings.path)
    target = tmp_path / declared.name

    first = run(agent, "--write", "--yes", "--settings", target)
    second = run(agent, "--write", "--yes", "--settings", target)

    read = tomllib.loads if declared.suffix == ".toml" else json.loads
    assert first.exit_code == 0
    assert read(target.read_text()) == MADE_WITH[agent]
    assert "says all of this already" in second.output


CONFIG = """\
model = "gpt-5.5"  # mine

[otel]
# where I am
environment = "staging"
exporter = "none"
trace_exporter = "none"

[mcp_servers.demo]
command = "demo"
"""
TOML_FILES = {
    "": CONFIG.replace(
        '[otel]\n# where I am\nenvironment = "staging"\nexporter = "none"\ntrace_exporter = "none"\n\n', ""
    ),
    "with a table": CONFIG,
    "grpc": CONFIG.replace('"none"\ntrace', '{ otlp-grpc = { endpoint = "http://localhost:4317" } }\ntrace'),
    "with tables of its own": CONFIG.replace('exporter = "none"\ntrace_exporter = "none"\n', "")
    + '\n[otel.exporter.otlp-grpc]\nendpoint = "http://localhost:4317"\n',
    "without heading": '[otel.exporter.otlp-grpc]\nendpoint = "http://a"\n\n[otel.span_attributes]\na = "b"\n',
    "with dots": 'otel.environment = "staging"\notel.exporter = "none"\n',
    "in a line": 'otel = { environment = "staging" }\n',
    "without line end": 'model = "gpt-5.5"',
}


@pytest.mark.parametrize("text", TOML_FILES.values(), ids=TOML_FILES)
def test_write_toml(text, tmp_path):
    """In a TOML file the wanted keys are set, each as a whole; tables, order and comments of the user stay."""
    target = tmp_path / "config.toml"
    target.write_text(text)

    result = run("codex", "--write", "--yes", "--settings", target)

    new, old = tomllib.loads(target.read_text()), tomllib.loads(text)
    assert result.exit_code == 0, result.output
    assert new == {**old, "otel": {**old.get("otel", {}), **MADE_WITH["codex"]["otel"]}}
    assert [line for line in text.splitlines() if "#" in line and line not in target.read_text()] == []
    assert "+" in result.output
    assert target.with_name("config.toml.bak").read_text() == text


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_windows_in_toml(mark, tmp_path):
    """Line ends and byte order mark stay as they are."""
    target = tmp_path / "config.toml"
    target.write_bytes(f"{mark}{CONFIG}".replace("\n", "\r\n").encode())

    result = run("codex", "--write", "--yes", "--settings", target)

    new = target.read_bytes().decode()
    assert result.exit_code == 0, result.output
    assert new.startswith(f'{mark}model = "gpt-5.5"  # mine\r\n')
    assert new.count("\r\n") == new.count("\n")
    assert tomllib.loads(new.removeprefix(mark))["otel"] == {
        **tomllib.loads(CONFIG)["otel"],
        **MADE_WITH["codex"]["otel"],
    }


def test_toml_with_nan(tmp_path):
    """A number that is not equal to itself does not look like a change."""
    target = tmp_path / "config.toml"
    target.write_text("x = nan\n\n[y]\nz = [-nan, 1.5]\n")

    result = run("codex", "--write", "--yes", "--settings", target)

    assert result.exit_code == 0, result.output
    assert target.read_text().startswith("x = nan\n\n[y]\nz = [-nan, 1.5]\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[otel\n", ": is not TOML: "),
        ("a = 1\na = 2\n", ": is not TOML: "),
        ("otel = 1\n", ": `otel` is not a table"),
        ("[[otel]]\na = 1\n", ": `otel` is not a table"),
    ],
)
def test_toml_files_that_are_left_alone(text, message, tmp_path):
    """A TOML file that cannot be edited safely is not touched, and the error says why."""
    target = tmp_path / "config.toml"
    target.write_text(text)

    result = run("codex", "--write", "--yes", "--settings", target)

    assert result.exit_code == 1
    assert f"Error: {target}{message}" in result.output
    assert target.read_text() == text


@pytest.mark.parametrize(
    ("there", "then"),
    [
        ("", ["ours", "more"]),
        ('tags = ["mine", "ours"]', ["mine", "ours", "more"]),
        ('tags = [\n  "more",  # why\n  "ours",\n]', ["more", "ours"]),
        ('tags = [\n  "mine",  # why\n]', ["mine", "ours", "more"]),
        ('tags = ["more@2", "ours-too@1"]', ["more@2", "ours-too@1", "ours"]),
    ],
)
def test_lists_in_toml(there, then, tmp_path):
    """A list of the user's grows by what is not in it, and keeps its comments."""
    merge = "  settings: {path: a.toml, merge: {otel: {tags: [ours, more]}}}\n"
    (tmp_path / "toy.yaml").write_text(TOY.split("  env", maxsplit=1)[0] + merge)
    target = tmp_path / "a.toml"
    target.write_text(f"[otel]\n{there}\n")

    result = run("toy", "--dialects", tmp_path / "toy.yaml", "--write", "--yes", "--settings", target)

    assert result.exit_code == 0, result.output
    assert tomllib.loads(target.read_text()) == {"otel": {"tags": then}}
    assert ("# why" in target.read_text()) == ("# why" in there)


def test_own_toml_without_a_table(tmp_path):
    """A dialect whose TOML has keys outside of tables is told so."""
    (tmp_path / "toy.yaml").write_text(
        TOY.split("  env", maxsplit=1)[0] + "  settings: {path: a.toml, merge: {a: 1}}\n"
    )

    result = run("toy", "--dialects", tmp_path)

    assert result.exit_code == 1
    assert "Error: a.toml: `a` stands in no table" in result.output


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


@pytest.mark.parametrize(
    ("there", "then"),
    [
        (["mine"], ["mine", "@devtheops/opencode-plugin-otel"]),
        (["@devtheops/opencode-plugin-otel", "mine"], ["@devtheops/opencode-plugin-otel", "mine"]),
        ([], ["@devtheops/opencode-plugin-otel"]),
        (["@devtheops/opencode-plugin-otel@1.2.3", "mine"], ["@devtheops/opencode-plugin-otel@1.2.3", "mine"]),
        (
            ["@devtheops/opencode-plugin-otel-x@1", 3],
            ["@devtheops/opencode-plugin-otel-x@1", 3, "@devtheops/opencode-plugin-otel"],
        ),
    ],
)
def test_lists_in_json(there, then, settings):
    """What is in a list of the user's stays there, in its order; ours is added once."""
    settings.parent.mkdir()
    settings.write_text(json.dumps({"plugin": there}))

    result = run("opencode-plugin", "--write", "--yes", "--settings", settings)

    assert result.exit_code == 0, result.output
    assert json.loads(settings.read_text()) == {"plugin": then}


def test_settings_with_comments_beside_the_wanted_ones(tmp_path):
    """Who has only the file for JSON with comments is told that another one is made; not the second time."""
    wanted, other = tmp_path / "opencode.json", tmp_path / "opencode.jsonc"
    other.write_text("{} // mine")

    first, second = (run("opencode", "--write", "--yes", "--settings", wanted).stderr for _ in range(2))

    assert first.startswith(f"Warning: {other} is there and {wanted} is not; ")
    assert second == ""


LEFT = {
    "claude-code": [],
    "codex": [],
    "gemini-cli": ["GEMINI_MEMORY_MONITOR_INTERVAL", "GEMINI_EVENT_LOOP_MONITOR_ENABLED"],
    "openclaw": [],
    "opencode": ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_BSP_SCHEDULE_DELAY"],
    "opencode-plugin": [
        "OPENCODE_ENABLE_TELEMETRY",
        "OPENCODE_OTLP_PROTOCOL",
        "OPENCODE_OTLP_ENDPOINT",
        "OPENCODE_OTLP_METRICS_INTERVAL",
        "OPENCODE_DISABLE_TRACES",
    ],
    "qwen-code": [],
}


def test_every_settings_file_is_in_the_table_above():
    """No agent whose settings can be written is forgotten."""
    assert {agent for agent, found in dialects().setups.items() if found.settings} == set(LEFT)


@pytest.mark.parametrize("agent", LEFT)
def test_what_is_left_to_do(agent, tmp_path):
    """After writing, the variables that the file cannot hold and the notes are said; the second time, too."""
    found = dialects().setups[agent]
    target = tmp_path / Path(found.settings.path).name
    for _ in range(2):
        told = run(agent, "--write", "--yes", "--settings", target).stdout
        _, _, left = told.partition("\nStill to do, or to know:\n")

        exports = [line.split()[1].split("=")[0] for line in left.splitlines() if line.startswith("export ")]
        assert exports == LEFT[agent]
        assert [note for note in found.notes if f"# {note}\n" not in left] == []
        assert "{" not in left


def test_what_is_not_written_has_no_rest(settings):
    """Who does not let the file be written is told nothing of what is left."""
    assert "Still to do" not in write(settings, answer="n\n").output


@pytest.mark.parametrize(("first", "second"), [("opencode", "opencode-plugin"), ("opencode-plugin", "opencode")])
def test_two_setups_for_one_agent(first, second, settings):
    """Who turns on both of two that tell the same is warned."""
    alone = run(first, "--write", "--yes", "--settings", settings)
    both = run(second, "--write", "--yes", "--settings", settings)

    assert alone.stderr == ""
    assert both.stderr == (
        f"Warning: {settings} has what `agent-exporter setup {first}` writes, too; "
        "with both all counts twice: take one out\n"
    )


def test_setups_that_exclude_others_name_them():
    """What is not to be on with another names one that there is, which says the same of it."""
    setups = dialects().setups

    assert [name for name, found in setups.items() if found.not_with and setups[found.not_with].not_with != name] == []


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
        ("\udcff", ": is not UTF-8: "),
        ('{"a": 1e400}', ": has NaN, Infinity or a number as large (such as 1e400), which cannot be written as JSON"),
        ('{"a": NaN}', ": has NaN, "),
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


@pytest.mark.parametrize("text", ['{\n  // mine\n  "a": 1\n}', '{\n  "a": 1,\n}', '{"a": 1} /* mine */'])
def test_json_with_comments(settings, text):
    """Comments and trailing commas cannot be kept, so that the file is left alone, with what to add to it."""
    settings.parent.mkdir()
    settings.write_text(text)

    result = write(settings, "--yes")

    _, _, snippet = result.stderr.partition(". Comments and trailing commas are not supported here; add this by hand:")
    assert result.exit_code == 1
    assert json.loads(snippet) == {"env": WANTED}
    assert settings.read_text() == text


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_windows(settings, mark):
    """Line ends and byte order mark stay as they are; twice changes nothing."""
    settings.parent.mkdir()
    settings.write_bytes(f'{mark}{{\r\n\t"a": "b"\r\n}}\r\n'.encode())

    result, again = write(settings, "--yes"), write(settings, "--yes")

    new = settings.read_bytes().decode()
    assert result.exit_code == 0, result.output
    assert new.startswith(f'{mark}{{\r\n\t"a": "b",\r\n\t"env": {{\r\n')
    assert new.count("\r\n") == new.count("\n")
    assert json.loads(new.removeprefix(mark)) == {"a": "b", "env": WANTED}
    assert "says all of this already" in again.output


def test_half_a_character(settings):
    """What JSON can name and UTF-8 cannot hold stays named."""
    settings.parent.mkdir()
    settings.write_text('{"a\\ud83d": "\\udc00 \\ud83d\\ude00"}')

    result = write(settings, "--yes")

    assert result.exit_code == 0, result.output
    assert '"a\\ud83d": "\\udc00 😀"' in settings.read_text(encoding="utf-8")


@pytest.mark.parametrize("inner", [".", "settings.json"])
def test_a_link_to_itself(settings, inner):
    """A loop of links is told, whether the file is one or its folder."""
    loop = settings.parent / inner
    loop.parent.mkdir(exist_ok=True) if inner != "." else None
    loop.symlink_to(loop)

    result = write(settings, "--yes")

    assert result.exit_code == 1
    assert f"Error: {settings}: " in result.output
    assert "Traceback" not in result.output


def test_a_file_that_cannot_be_replaced(settings, monkeypatch):
    """The error names the settings file, not ours beside it, and no copy of it is left."""
    settings.parent.mkdir()
    settings.write_text("{}\n")

    def fail(source, target):
        raise PermissionError(1, "Operation not permitted", str(source), None, str(target))

    monkeypatch.setattr(Path, "replace", fail)
    result = write(settings, "--yes")

    assert result.exit_code == 1
    assert f"Error: {settings}: cannot be written: Operation not permitted; nothing was changed." in result.output
    assert [path.name for path in settings.parent.iterdir()] == ["settings.json"]


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
    assert [path.name for path in settings.parent.iterdir()] == ["settings.json"]


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


def test_what_should_be_a_list(settings):
    """Something else where a list belongs is left alone, and said."""
    settings.parent.mkdir()
    settings.write_text('{"plugin": "mine"}')

    result = run("opencode-plugin", "--write", "--yes", "--settings", settings)

    assert result.exit_code == 1
    assert f"Error: {settings}: `plugin` is not a list; make it one, or change it by hand\n" in result.output
    assert settings.read_text() == '{"plugin": "mine"}'


def test_dialects_that_are_not_there(tmp_path):
    """A folder of dialects that does not exist is refused."""
    result = run("claude-code", "--dialects", tmp_path / "none")

    assert result.exit_code == 2
    assert "does not exist" in " ".join(result.output.split())
