"""Every key with its default and description; docs/configuration.md is generated from here.

What may live here: the sections, what must hold between keys of one section, and the list of all keys.
Where values come from is in sources.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from .notation import (
    DOLLARS,
    ENTRIES,
    HOUR,
    MIB,
    MINUTE,
    WORDS,
    Address,
    At,
    Count,
    Dollars,
    Duration,
    Folder,
    Notation,
    Paths,
    Size,
    Switch,
    Word,
    Words,
    entries,
    words,
)


class Section(BaseModel):
    """A group of keys: frozen, and nothing in it that is not a key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Otlp(Section):
    """Where agents push to."""

    grpc_address: At = Field(Address("127.0.0.1", 4317), description="OTLP over gRPC listens here.")
    http_address: At = Field(Address("127.0.0.1", 4318), description="OTLP over HTTP listens here.")
    cors_origins: Words = Field((), description="Origins of web pages that may push; `*` stands for any.")


class Web(Section):
    """Where Prometheus scrapes and people look."""

    listen_address: At = Field(Address("127.0.0.1", 9464), description="`/metrics` and the pages are served here.")


class Limits(Section):
    """How much a client, or all of them, may use; what is over a limit is refused or folded, and counted."""

    body_bytes: Size = Field(64 * MIB, description="Largest request, before and after decompression (413 above).")
    in_flight_requests: Count = Field(64, description="Requests worked on at once; more are asked to come back later.")
    in_flight_bytes: Size = Field(256 * MIB, description="Bytes of requests held at once; more are asked to come back.")
    connections: Count = Field(512, description="Open connections a door.")
    header_timeout: Duration = Field(10.0, description="A client has this long to send a request's headers.")
    body_timeout: Duration = Field(60.0, description="A client has this long to send a request's body.")
    idle_timeout: Duration = Field(120.0, description="A connection without a request is closed after this.")
    shutdown_timeout: Duration = Field(10.0, description="Requests in flight have this long to finish on SIGTERM.")
    streams: Count = Field(
        200_000, description="Streams remembered in all: one a series as sent, session ids included; more are refused."
    )
    streams_per_client: Count = Field(20_000, description="Streams remembered for one client; more are refused.")
    series_per_metric: Count = Field(
        2_000, description="Series of one family on the page; more go to its overflow series."
    )
    series_per_client: Count = Field(10_000, description="Series that a client may create; more go to overflow series.")
    label_value_length: Count = Field(
        1024, description="Longest label value of a passed-through series; longer ones are cut."
    )
    label_values: Count = Field(
        500, description="Values of a label (tools, models) of one agent, and agents; more are folded into `other`."
    )
    payload_memory: Count = Field(4096, description="Requests with logs or spans remembered, to know a repeated one.")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.in_flight_bytes < self.body_bytes:
            raise ValueError("in_flight_bytes must hold at least one request of body_bytes")
        if self.streams < self.streams_per_client:
            raise ValueError("streams must be at least streams_per_client")
        return self


class Expiry(Section):
    """When what is silent leaves."""

    stream: Duration = Field(5 * MINUTE, description="A gauge leaves the page when its stream was silent this long.")
    series: Duration = Field(6 * HOUR, description="A counter or histogram leaves the page without news for this long.")
    memory: Duration = Field(
        24 * HOUR, description="Totals of silent series and the state of silent streams are forgotten."
    )
    sweep: Duration = Field(15.0, description="How often the above is looked at.")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.memory < max(self.stream, self.series):
            raise ValueError("memory must be at least as long as stream and series")
        return self


class PassThrough(Section):
    """What was pushed, under its own name beside the normalised families."""

    enabled: Switch = Field(default=True, description="Expose pushed metrics under their own translated names too.")
    include: Words = Field(("*",), description="Globs of OTLP metric names that are passed through.")
    exclude: Words = Field((), description="Globs of OTLP metric names that are not, though included.")


Strategy = Literal[
    "UnderscoreEscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
]


class Metrics(Section):
    """What the page shows of what was pushed."""

    translation_strategy: Strategy = Field(
        "UnderscoreEscapingWithSuffixes",
        description="How OTLP names become Prometheus names; the two last need a scraper that asks for UTF-8.",
    )
    created: Switch = Field(default=True, description="Say in OpenMetrics when a counter began (`_created`).")
    pass_through: PassThrough = Field(default_factory=PassThrough)
    drop_attributes: Annotated[tuple[str, ...] | None, BeforeValidator(words), WORDS] = Field(
        None,
        description="Attributes that are summed away; null: ids of sessions, users, requests and the like.",
    )
    keep_attributes: Words = Field((), description="Attributes that are kept although the default set drops them.")
    resource_labels: Words = Field((), description="Globs of resource attributes copied to passed-through series.")
    scope_labels: Switch = Field(default=True, description="Put `otel_scope_*` labels on passed-through series.")
    initial_value: Literal["zero", "baseline"] = Field(
        "zero",
        description="A running total first seen counts in full (zero), or only what it grows by later (baseline).",
    )


class DialectFiles(Section):
    """Vocabularies of agents beyond those that are built in."""

    paths: Paths = Field((), description="Files, or folders of files, in the dialect format.")


class ModelPrice(Section):
    """What the tokens of some models cost, in US dollars for a million; 0 is free."""

    model: Word = Field(description="Glob of the names in the label `model`; `*` stands for any characters.")
    provider: Word = Field("*", description="Glob of the names in the label `provider`.")
    input: Dollars = Field(description="Input that was not cached.")
    output: Dollars = Field(description="Output.")
    cache_read: Annotated[Dollars | None, DOLLARS] = Field(
        None, description="Input read from the cache; null: as input."
    )
    cache_write: Annotated[Dollars | None, DOLLARS] = Field(
        None, description="Input put into the cache; null: as input."
    )
    reasoning: Annotated[Dollars | None, DOLLARS] = Field(None, description="Reasoning; null: as output.")


class Prices(Section):
    """What tokens cost where the agent does not say, before and beyond the public prices."""

    models: Annotated[tuple[ModelPrice, ...], BeforeValidator(entries), ENTRIES] = Field(
        (), description="Prices of your own; the first that fits counts, public ones only if none does."
    )


class Sample(Section):
    """What the collector looks at on its own machine."""

    interval: Duration = Field(
        15.0,
        description="Look at most this often, however often the page is asked for; at least twice in `expiry.stream`.",
    )
    host: Switch = Field(
        default=True, description="The machine (`system_*`), and the limits of the container (`container_*`)."
    )
    processes: Switch = Field(default=True, description="The agents' processes and their children (`agent_process_*`).")
    uss: Switch = Field(
        default=False, description="Their memory without what is shared too; costs about twice as much again a process."
    )


class State(Section):
    """What outlives the process."""

    path: Folder = Field(
        None,
        description="Folder for totals that outlive a restart. This version writes nothing there yet.",
    )


class Log(Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")


class Config(Section):
    """Everything that can be set."""

    otlp: Otlp = Field(default_factory=Otlp)
    web: Web = Field(default_factory=Web)
    limits: Limits = Field(default_factory=Limits)
    expiry: Expiry = Field(default_factory=Expiry)
    metrics: Metrics = Field(default_factory=Metrics)
    dialects: DialectFiles = Field(default_factory=DialectFiles)
    prices: Prices = Field(default_factory=Prices)
    sample: Sample = Field(default_factory=Sample)
    state: State = Field(default_factory=State)
    log: Log = Field(default_factory=Log)


Key = tuple[str, ...]


def fields(section: type[BaseModel] = Config, path: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """List every key with its field, sections expanded, in the order they are declared."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, (*path, name))
        else:
            yield (*path, name), field


def notation(field: FieldInfo) -> Notation:
    """Say how the values of a field are written."""
    declared = next((entry for entry in field.metadata if isinstance(entry, Notation)), None)
    return declared or Notation("one of " + ", ".join(get_args(field.annotation)))


def entry(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that every entry of a list is, None if the key holds no such list."""
    of = next(iter(get_args(field.annotation)), None)
    return of if isinstance(of, type) and issubclass(of, BaseModel) else None


FIELDS = dict(fields())
ENTRY: dict[Key, type[BaseModel]] = {key: of for key, field in FIELDS.items() if (of := entry(field))}
