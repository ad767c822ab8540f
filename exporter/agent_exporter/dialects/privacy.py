"""What never becomes a label and what is never kept, in one place.

Rule: patterns of attribute names and their compiler; `*` stands for any characters, and spelling
does not matter: `userId`, `user-id`, `USER_ID` and `user.id` are one name. They are used twice: a
dialect file that labels by such an attribute is refused, and pass-through drops such attributes,
so that streams which differ in nothing else are summed. docs/dialects.md says what was decided
and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .names import Matcher, matcher

# Whose and which one: no attribute here says anything about a group of calls.
IDENTITIES: Final = (
    *("session", "session.id", "*.session.id", "sessionid", "conversation", "conversation.id", "*.conversation.id"),
    *("thread.id", "turn.id", "*.turn.id", "prompt.id", "*.prompt.id", "*.interaction.id", "run.id", "*.run.id"),
    *("trace.id", "*.trace.id", "span.id", "*.span.id", "message.id", "*.message.id", "request.id", "*.request.id"),
    *("requestid", "response.id", "*.response.id", "*call.id", "tool.use.id", "*.use.id", "tool.id", "*event.id"),
    *(
        "*task.id",
        "submission.id",
        "*connection.id",
        "job.id",
        "execution.id",
        "*invocation.id",
        "correlation.id",
        "event.loop.cycle.id",
        "fiber.id",
    ),
    *("agent.id", "*.agent.id", "*.id.hash", "experiments.ids", "uuid", "*.uuid", "installation.id", "device.id"),
    *("machine.id", "client.id", "user", "users", "user.*", "*.user", "*.user.id", "userid", "username", "*.username"),
    *("email", "*.email", "login", "author", "phone", "full.name", "display.name", "enduser.*", "customer.id"),
    *("account.*", "*.account.id", "*account.uuid", "organization.*", "org.id", "tenant.id"),
    *("process.pid", "process.parent.pid", "process.owner", "*api.key", "*authorization*", "*.headers.*", "*cookie*"),
    *("*password*", "*secret*", "*credentials*", "access.token", "auth.token", "*.access.token", "*.auth.token"),
    *("http.request.header.*", "http.response.header.*", "client.address", "client.ip", "client.port", "ip"),
    *("ip.address", "remote.addr", "network.peer.*", "network.local.*", "net.peer.name", "net.peer.ip"),
    *("net.sock.*", "*system.fingerprint"),
)

# Where on the disk, in the shell or on the net.
PLACES: Final = (
    *("cwd", "*.cwd", "pwd", "path", "paths", "*.path", "*.paths", "file", "files", "file.name", "filename"),
    *("*.filename", "filepath", "*.filepath", "directory", "*.directory", "workdir", "*.workdir"),
    *("folder", "command", "full.command", "bash.command", "shell.command", "tool.command", "bash.argv0"),
    *(
        "command.line",
        "process.command*",
        "process.executable.name",  # the whole path, from Node's SDK and some of Python's
        "url",
        "urls",
        "uri",
        "href",
        "*.api.base",
        "url.full",
        "url.query",
        "url.path",
        "url.fragment",
    ),
    *(
        "*.url",
        "*.urls",
        "*.url.full",
        "*.uri",
        "http.target",
        "endpoint",
        "server.address",
        "user.agent.original",
        "vcs.*",
        "code.function*",
        "code.file*",
    ),
    *("code.line*", "code.column*", "code.namespace", "code.stacktrace"),
)

# Free text that says what went wrong or why.
ERROR_TEXTS: Final = (
    *("error", "errors", "tool.error", "error.detail*", "exception", "exceptions", "*.stacktrace", "stacktrace"),
    *("stack", "stack.trace", "*.stack.trace", "traceback", "*.traceback", "status.message", "message", "*.message"),
    *("*.reasoning",),
)

# Numbers and times that some agents send as attributes (Gemini CLI sends CPU microseconds and
# lines of a file so): every call would be a series of its own.
NUMBERS: Final = (
    *("lines", "tokens.before", "tokens.after", "cpu.usage.user", "cpu.usage.system", "*.length", "duration.ms"),
    *("*.duration.ms", "start.time", "end.time", "timestamp", "*.timestamp", "*.sequence"),
)

# What users, models and tools said to each other; with the names of section 14.5 rule 8 the ones
# that frameworks use for the same. A plain `result` is not here: it says `success` or `failure`.
CONTENT: Final = (
    *("prompt", "prompts", "*.prompt", "*.prompts", "ai.prompt*", "gen.ai.prompt.*.*", "*prompt.template*"),
    *("response", "responses", "*tool.response", "model.response", "*llm.response", "*llm.request"),
    *(
        "ai.response.tool.calls",
        "*.response.value",
        "completion",
        "completions",
        "*.completion",
        "gen.ai.completion*",
        "llm.completions*",
    ),
    *(
        "llm.prompts*",
        "message.content",
        "messages",
        "*.messages",
        "*.messages.*",
        "content",
        "*.content",
        "body",
        "*.body",
    ),
    *("text", "*.text", "thought", "thoughts", "*.thought", "*.thoughts", "question", "answer", "reply", "history"),
    *("transcript", "*.transcript", "title", "summary", "*.summary", "comment", "description", "*.description"),
    *("instruction", "instructions", "*.instructions", "arguments", "*.arguments", "args", "*.args", "argv", "kwargs"),
    *("parameters", "tool.parameters", "llm.invocation.parameters", "*.request.parameters", "*.tool.definitions"),
    *(
        "input",
        "inputs",
        "*.input",
        "*.inputs",
        "input.value",
        "output",
        "outputs",
        "*.output",
        "output.value",
        "stdin",
        "stdout",
    ),
    *("stderr", "*.stdin", "*.stdout", "*.stderr", "results", "tool.result", "tool.results", "*.call.result", "diff"),
    *("snippet", "payload", "*.payload", "sql", "*.sql", "statement", "*.statement", "query", "db.query"),
    *(
        "search.query",
        "sql.query",
        "reranker.query",
        "*.query.parameter.*",
        "document",
        "documents",
        "*.document",
        "*.documents*",
    ),
    *(
        "embedding.embeddings*",
        "embedding.vector",
        "metadata",
        "*.metadata",
        "*.metadata.*",
        "*.association.properties.*",
    ),
)

# What looks like one of these and is not: yes or no.
EXCEPTIONS: Final = ("!anthropic.custom_base_url",)

NEVER_LABELS: Final = (*EXCEPTIONS, *IDENTITIES, *PLACES, *ERROR_TEXTS, *NUMBERS, *CONTENT)
DROP_ATTRIBUTES: Final = NEVER_LABELS


# Where words of a name meet: `userId`, `HTTPRoute`, and `*Id` in a pattern.
_CASE = re.compile(r"(?<=[a-z0-9*])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_SEPARATORS = re.compile(r"[-_. /:]+")


def compile_drop(patterns: Iterable[str]) -> Matcher:
    """Compile patterns of attribute names to a test of one name, in any spelling; one after `!` is an exception."""
    dropped, spared = set[str](), set[str]()
    for pattern in patterns:
        (spared if pattern.startswith("!") else dropped).add(_spelled(pattern.removeprefix("!")))
    drops, spares = matcher(dropped), matcher(spared)

    def dropping(name: str) -> bool:
        spelled = _spelled(name)
        return drops(spelled) and not spares(spelled)

    return dropping


def _spelled(name: str) -> str:
    """Spell a name or a pattern in lower case with dots between its words."""
    return _SEPARATORS.sub(".", _CASE.sub(".", name)).strip(".").lower()


never_label: Final = compile_drop(NEVER_LABELS)
