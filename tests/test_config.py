from pathlib import Path

import pytest

from agent_exporter.config import Address, Config, ConfigError, load
from agent_exporter.config.keys import ENTRY, FIELDS, notation
from agent_exporter.config.notation import address, duration, show_duration, show_size, size
from agent_exporter.config.sources import VARIABLES


def write(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    file = folder / "exporter.yaml"
    file.write_text(text)
    return file


def problems(*args, **kwargs) -> list[str]:
    """Load what cannot be loaded and return what is said about it."""
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return caught.value.problems


def test_defaults_are_local_and_private():
    """Without any source the doors open on localhost and nothing is kept."""
    config = load()

    assert config == Config()
    assert [str(door) for door in (config.otlp.grpc_address, config.otlp.http_address, config.web.listen_address)] == [
        "127.0.0.1:4317",
        "127.0.0.1:4318",
        "127.0.0.1:9464",
    ]
    assert config.state.path is None


def test_later_sources_win(tmp_path):
    """A flag beats the environment, which beats the file, which beats the default."""
    file = write(tmp_path, "limits: {streams: 30000, connections: 9}\nlog: {level: debug}\n")

    config = load(
        file,
        {"AGENT_EXPORTER_LIMITS_CONNECTIONS": "10", "AGENT_EXPORTER_LOG_LEVEL": "warning"},
        {"log.level": "error"},
    )

    assert (config.limits.streams, config.limits.connections, config.log.level) == (30000, 10, "error")
    assert config.limits.in_flight_requests == 64


def test_configuration_is_frozen():
    """Nobody changes the configuration after it was read."""
    with pytest.raises(ValueError, match="frozen"):
        load().limits.streams = 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:4317", Address("127.0.0.1", 4317)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:4317", Address("::1", 4317)),
        ("[::]:65535", Address("::", 65535)),
    ],
)
def test_addresses(text, expected):
    """HOST:PORT is read and written back the same, IPv6 in brackets."""
    assert address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["4317", "localhost", "::1:4317", "a b:1", "host:65536", "host:", "[::1]", 4317, None])
def test_wrong_addresses(text):
    """What is not HOST:PORT is refused with the notation."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        address(text)


def test_an_open_door_is_spelled_out():
    """`:4317` does not open every interface by accident; the message says how to."""
    with pytest.raises(ValueError, match=r"0\.0\.0\.0:4317"):
        address(":4317")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("6h", 21600.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("2d", 172800.0),
    ],
)
def test_durations(text, seconds):
    """A duration is numbers with units."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["30", 30, "0s", "-1s", "s", "5 m", "1y", True, None])
def test_wrong_durations(text):
    """A number without a unit, nothing and less than nothing are refused."""
    with pytest.raises(ValueError, match="a duration with its unit"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [("64MiB", 1 << 26), ("1 KiB", 1024), ("2MB", 2_000_000), (4096, 4096)])
def test_sizes(text, count):
    """A size is a number with a binary or decimal unit, or of bytes."""
    assert size(text) == count


@pytest.mark.parametrize("text", ["0", "64M", "1.5MiB", "-1", "MiB", True])
def test_wrong_sizes(text):
    """Units we do not know and sizes of nothing are refused."""
    with pytest.raises(ValueError, match="a size above 0"):
        size(text)


def test_values_are_shown_as_they_are_written():
    """The documentation shows durations and sizes in the largest unit that fits."""
    assert [show_duration(seconds) for seconds in (15.0, 300.0, 86400.0, 0.25)] == ["15s", "5m", "24h", "250ms"]
    assert [show_size(count) for count in (1 << 26, 1 << 30, 1000)] == ["64MiB", "1GiB", "1000B"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\nlimits:\n  streams: many\n", ":3: limits.streams: 'many' is not allowed; allowed: a whole number above 0"),
        ("limits: {streams: 0}", ":1: limits.streams: 0 is not allowed; allowed: a whole number above 0"),
        ("limits: {streams: true}", ":1: limits.streams: True is not allowed; allowed: a whole number above 0"),
        ("limits: {streams: {a: 1}}", ":1: limits.streams: a section is not allowed; allowed: a whole number above 0"),
        ("limits:\n  straems: 1", ":2: limits.straems: unknown key; did you mean streams?"),
        ("otpl:\n  grpc_address: a:1", ":2: otpl: unknown key; did you mean otlp?"),
        ("limits: 5", ":1: limits: must be a section with the keys body_bytes, in_flight_requests, "),
        ("metrics: {pass_through: 5}", ":1: metrics.pass_through: must be a section with the keys enabled, include, "),
        (
            "zzz: 1",
            ":1: zzz: unknown key; known: otlp, web, limits, expiry, metrics, dialects, prices, sample, state, log",
        ),
        ("zzz:", ":1: zzz: unknown key; known: otlp, web, "),
        ("log: {level: loud}", ":1: log.level: 'loud' is not allowed; allowed: one of debug, info, warning, error"),
        ("metrics: {created: 2}", ":1: metrics.created: 2 is not allowed; allowed: true or false"),
        ("metrics: {drop_attributes: 3}", ":1: metrics.drop_attributes: 3 is not allowed; allowed: a list of words"),
        (
            "metrics: {drop_attributes: [1]}",
            ":1: metrics.drop_attributes: [1] is not allowed; allowed: a list",
        ),
        ("expiry: {stream: !odd 5}", ":1: expiry.stream: '5' is not allowed; allowed: a duration with its unit"),
        (
            "web: {listen_address: 9464}",
            ":1: web.listen_address: 9464 is not allowed; allowed: HOST:PORT; to listen on this machine only write",
        ),
        (
            "web: {listen_address: here}",
            ":1: web.listen_address: 'here' is not allowed; allowed: HOST:PORT, such as 127.0.0.1:9464; an IPv6 host",
        ),
        ("limits:\n  in_flight_bytes: 1MiB", ":2: limits: in_flight_bytes must hold at least one request"),
        ("expiry: {memory: 1h}", ":1: expiry: memory must be at least as long as stream and series"),
        ("log:\n  level: info\n  level: debug", ":3: log.level: already set in line 2"),
        ("prices: {models: 7}", ":1: prices.models: 7 is not allowed; allowed: a list of entries"),
        ("prices: {models: {a: 1}}", ":1: prices.models: a section is not allowed; allowed: a list of entries"),
        (
            "prices:\n  models:\n  - 5",
            ":3: prices.models[0]: 5 is not allowed; allowed: an entry with the keys model, ",
        ),
        (
            "prices:\n  models:\n  - model: a\n    input: 1",
            ":3: prices.models[0].output: must be given: US dollars for ",
        ),
        (
            "prices:\n  models:\n  - {model: a, input: 1, output: 2}\n  - model: b\n    input: 1\n    output: -2",
            ":6: prices.models[1].output: -2 is not allowed; allowed: US dollars for a million tokens, 0 or more",
        ),
        (
            "prices:\n  models:\n  - {model: a, input: 1, output: 2, cached: 1}",
            ":3: prices.models[0].cached: unknown key; did you mean cache_read?",
        ),
        (
            "prices:\n  models:\n  - {model: a, input: .nan, output: 2}",
            ":3: prices.models[0].input: nan is not allowed; allowed: US dollars",
        ),
        (
            "prices:\n  models:\n  - {model: a, input: 1, output: true}",
            ":3: prices.models[0].output: True is not allowed; allowed: US dollars",
        ),
        ('prices:\n  models:\n  - {model: "", input: 1, output: 2}', ":3: prices.models[0].model: '' is not allowed; "),
        (
            "prices:\n  models:\n  - model: a\n    input: 1\n    input: 2",
            ":5: prices.models[0].input: already set in line 4",
        ),
        ("dialects: {paths: none.yaml}", ":1: dialects.paths: 'none.yaml' is not allowed; allowed: a list of paths; "),
        ("dialects: {paths: [a, 1]}", ":1: dialects.paths: ['a', 1] is not allowed; allowed: a list of paths; "),
        ("- a\n- b", ":1: the file must hold sections (otlp, web, "),
        ("log: [\n", ":2: not YAML: "),
    ],
)
def test_a_mistake_in_the_file(tmp_path, text, problem):
    """Every mistake is named with file, line, key, value and what is allowed."""
    file = write(tmp_path, text)

    assert problems(file)[0].startswith(f"{file}{problem}")


def test_all_mistakes_are_told_at_once(tmp_path):
    """A file with three mistakes gives three lines."""
    assert len(problems(write(tmp_path, "log: {level: x}\nlimits: {streams: x}\nweb: {a: 1}"))) == 3


def test_mistakes_are_told_in_the_order_of_lines(tmp_path):
    """Who corrects a file goes through it once; what is wrong elsewhere comes afterwards."""
    text = "".join(f"{line}\n" for line in ("log: {level: x}", "zzz: 1", *[""] * 7, "web: {a: 1}", "otlp: {b: 1}"))
    file = write(tmp_path, text)
    told = problems(file, {"AGENT_EXPORTER_LIMITS_STREAMS": "x"}, {"otlp.grpc_address": "x"})

    assert [line.removeprefix(f"{file}:").split(":")[0] for line in told] == [
        *("1", "2", "10", "11"),
        *("--otlp.grpc-address", "AGENT_EXPORTER_LIMITS_STREAMS"),
    ]


def test_a_missing_file(tmp_path):
    """A file that is not there is named."""
    file = tmp_path / "none.yaml"

    assert problems(file) == [f"{file}: cannot be read: No such file or directory"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "limits:\n", "limits: {}\n"])
def test_an_empty_file_changes_nothing(tmp_path, text):
    """An empty file, or one with empty sections, leaves the defaults."""
    assert load(write(tmp_path, text)) == Config()


def test_a_mistake_in_the_environment():
    """A wrong variable is named as it was set."""
    assert problems(environment={"AGENT_EXPORTER_EXPIRY_STREAM": "5"})[0].startswith(
        "AGENT_EXPORTER_EXPIRY_STREAM: expiry.stream: '5' is not allowed; allowed: a duration",
    )


def test_an_unknown_variable():
    """A misspelt variable is refused, not ignored."""
    assert problems(environment={"AGENT_EXPORTER_LOG_LEVLE": "debug", "HOME": "/"}) == [
        "AGENT_EXPORTER_LOG_LEVLE: unknown variable; did you mean AGENT_EXPORTER_LOG_LEVEL?",
    ]


def test_a_variable_like_no_other():
    """That all variables begin alike makes none of them the one that is meant."""
    example = "AGENT_EXPORTER_OTLP_GRPC_ADDRESS"

    assert problems(environment={"AGENT_EXPORTER_FOO": "1"}) == [
        f"AGENT_EXPORTER_FOO: unknown variable; write AGENT_EXPORTER_ and a key, such as {example}",
    ]


def test_variables_of_kubernetes_are_not_ours():
    """What Kubernetes sets for a service of our name is left alone."""
    foreign = {"AGENT_EXPORTER_SERVICE_HOST": "10.0.0.1", "AGENT_EXPORTER_PORT_9464_TCP": "tcp://10.0.0.1:9464"}

    assert load(environment=foreign | {"AGENT_EXPORTER_PORT": "tcp://10.0.0.1:9464"}) == Config()
    assert not {name for name in VARIABLES if name.startswith(("AGENT_EXPORTER_SERVICE", "AGENT_EXPORTER_PORT"))}


def test_a_mistake_in_a_flag():
    """A wrong flag is named as it was typed."""
    assert problems(flags={"otlp.grpc_address": "x"})[0].startswith("--otlp.grpc-address: 'x' is not allowed")


def test_lists_in_the_environment():
    """A list in the environment is separated by commas; an empty one is empty."""
    config = load(
        environment={
            "AGENT_EXPORTER_METRICS_RESOURCE_LABELS": "team, cost_*",
            "AGENT_EXPORTER_METRICS_DROP_ATTRIBUTES": "",
        },
    )

    assert config.metrics.resource_labels == ("team", "cost_*")
    assert config.metrics.drop_attributes == ()


def test_prices(tmp_path):
    """Prices are a list of entries; what is left out is left to the table of prices."""
    config = load(write(tmp_path, "prices:\n  models:\n  - {model: acme-*, input: 0.5, output: 2}\n"))

    assert [entry.model_dump(exclude_unset=True) for entry in config.prices.models] == [
        {"model": "acme-*", "input": 0.5, "output": 2.0}
    ]


def test_prices_in_the_environment():
    """A list of entries in the environment is JSON, and mistakes in it are named."""
    config = load(environment={"AGENT_EXPORTER_PRICES_MODELS": '[{"model": "a", "input": 1, "output": 2}]'})

    assert [(entry.model, entry.provider, entry.output) for entry in config.prices.models] == [("a", "*", 2.0)]
    assert problems(environment={"AGENT_EXPORTER_PRICES_MODELS": '[{"model": "a", "input": 1}]'})[0].startswith(
        "AGENT_EXPORTER_PRICES_MODELS: prices.models[0].output: must be given: US dollars for a million tokens"
    )
    assert problems(environment={"AGENT_EXPORTER_PRICES_MODELS": "[{"})[0].endswith(
        "prices.models: '[{' is not allowed; allowed: a list of entries (in the environment: JSON)"
    )


def test_paths_in_a_file_start_at_its_folder(tmp_path):
    """Relative paths in a file mean the same wherever the program is started."""
    (tmp_path / "mine.yaml").touch()
    config = load(write(tmp_path, "dialects: {paths: [mine.yaml, /etc]}\nstate: {path: data}"))

    assert config.dialects.paths == (tmp_path / "mine.yaml", Path("/etc"))
    assert config.state.path == tmp_path / "data"


def test_dialects_that_are_not_there(tmp_path):
    """A path at which there is nothing is named with its key and the line, or the variable, that asks for it."""
    (tmp_path / "mine.yaml").touch()
    file = write(tmp_path, "dialects:\n  paths:\n  - mine.yaml\n  - none.yaml\n  - /nope\n")
    here = f"{file.parent}/mine.yaml"

    assert problems(file) == [
        f"{file}:4: dialects.paths: {tmp_path / 'none.yaml'} cannot be read: No such file or directory",
        f"{file}:5: dialects.paths: /nope cannot be read: No such file or directory",
    ]
    assert problems(environment={"AGENT_EXPORTER_DIALECTS_PATHS": f"{here},/nope"}) == [
        "AGENT_EXPORTER_DIALECTS_PATHS: dialects.paths: /nope cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("one", "two", "meets"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("localhost:1", "127.0.0.1:1", True),
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("10.0.0.1:1", "[::]:1", True),
        ("127.0.0.1:1", "10.0.0.1:1", False),
        ("127.0.0.1:1", "[::1]:1", False),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_addresses_that_meet(one, two, meets):
    """Two addresses meet at a port of one host, or if one of them is every host; port 0 is a free one each time."""
    assert (address(one).meets(address(two)), address(two).meets(address(one))) == (meets, meets)


def test_two_doors_on_one_port(tmp_path):
    """Both keys are named, at the place that asks for what the other has."""
    file = write(tmp_path, "web:\n  listen_address: 127.0.0.1:4317\n")
    advice = "give one of them another port"

    assert problems(file) == [
        f"{file}:2: web.listen_address: 127.0.0.1:4317 is taken by otlp.grpc_address (127.0.0.1:4317); {advice}"
    ]
    assert problems(flags={"otlp.grpc_address": "0.0.0.0:9464"}) == [
        f"--otlp.grpc-address: 0.0.0.0:9464 is taken by web.listen_address (127.0.0.1:9464); {advice}"
    ]
    assert load(flags=dict.fromkeys(["otlp.grpc_address", "otlp.http_address", "web.listen_address"], "[::]:0"))


def test_an_empty_path_is_none():
    """An empty state path switches persistence off."""
    assert load(environment={"AGENT_EXPORTER_STATE_PATH": ""}).state.path is None


@pytest.mark.parametrize("key", ENTRY, ids=".".join)
def test_every_key_of_an_entry_is_documented(key):
    """Every key of the entries of a list has a description and a notation."""
    assert [name for name, field in ENTRY[key].model_fields.items() if not field.description] == []
    assert [name for name, field in ENTRY[key].model_fields.items() if not notation(field).allowed] == []


@pytest.mark.parametrize("key", FIELDS, ids=".".join)
def test_every_key_is_documented(key):
    """Every key has a description, a notation, and a default that can be shown."""
    field = FIELDS[key]

    assert field.description
    assert notation(field).allowed
    assert notation(field).show(field.default)
