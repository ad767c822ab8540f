import io
import logging

import pytest

from agent_exporter.cli.log import Pairs, quoted, start


def line(message: str, *arguments, **fields) -> str:
    """Format one record without its time."""
    record = logging.makeLogRecord(
        {"name": "agent_exporter.receive.http", "levelno": 20, "levelname": "INFO", "msg": message, "args": arguments}
        | fields,
    )
    return Pairs().format(record).partition(" ")[2]


def test_fields_follow_the_message():
    """A record is one line of key=value pairs, what `extra` gave at the end."""
    assert line("listening on %s", "ipv6", door="http", address="[::1]:4318") == (
        'level=info logger=receive.http message="listening on ipv6" door=http address=[::1]:4318'
    )


def test_the_time_is_utc():
    """Every line begins with the time, to the millisecond and in UTC."""
    record = logging.makeLogRecord({"name": "x", "created": 1_700_000_000.25, "msg": "x"})

    assert Pairs().format(record).startswith("time=2023-11-14T22:13:20.250+00:00 ")


def test_a_traceback_is_one_value():
    """A traceback does not break the line."""
    try:
        raise ValueError("no")  # noqa: TRY301 - a traceback is wanted
    except ValueError as error:
        text = line("failed", exc_info=(type(error), error, error.__traceback__))

    assert "\n" not in text
    assert text.endswith('ValueError: no"')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "a=b"', '"say \\"a=b\\""'),
        ("line\nbreak", '"line\\nbreak"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("grün", "grün"),
    ],
)
def test_values_are_quoted_where_needed(value, expected):
    """Spaces, quotes, equal signs and control characters are quoted as JSON quotes them."""
    assert quoted(value) == expected


def test_levels_apply_to_us(monkeypatch):
    """Our log starts at the level asked for, libraries' at warning."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    root, ours = logging.getLogger(), logging.getLogger("agent_exporter")
    before = (root.handlers[:], root.level, ours.level)
    try:
        start("debug")
        logging.getLogger("agent_exporter.x").debug("ours")
        logging.getLogger("library").info("theirs")
        logging.getLogger("library").warning("trouble")
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:], _, _ = before
        root.setLevel(before[1])
        ours.setLevel(before[2])

    assert [text.rpartition("message=")[2] for text in out.getvalue().splitlines()] == ["ours", "trouble"]
