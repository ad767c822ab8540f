"""What never becomes a label and what is never kept, in one place.

Rule: patterns of attribute names and their compiler; `*` stands for any characters. They are
used twice: a dialect file that labels by such an attribute is refused, and pass-through drops
such attributes, so that streams which differ in nothing else are summed. docs/dialects.md says
what was decided and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .names import Matcher, matcher

# Whose and which one: no attribute here says anything about a group of calls.
IDENTITIES: Final = (
    *("session.id", "session_id", "*.session.id", "*.session_id", "*sessionId", "*-session-id", "*-Session-Id"),
    *("conversation.id", "conversation_id", "*.conversation.id", "*.conversation_id", "thread.id", "thread_id"),
    *("turn.id", "turn_id", "*.turn_id", "prompt.id", "prompt_id", "*.prompt_id", "*.interaction_id", "run.id"),
    *("run_id", "trace_id", "span_id", "trace.id", "span.id", "message.id", "message.uuid", "message_id"),
    *("request_id", "request.id", "*.request_id", "*_request_id", "response_id", "response.id", "*.response.id"),
    *("call_id", "*.call_id", "*call.id", "*_call_id", "tool_use_id", "*.use_id", "*.toolCall.id", "tool.id"),
    *("agent_id", "agent.id", "*.agent.id", "*_agent_id", "event_loop_cycle_id", "*_id_hash", "experiments.ids"),
    *("installation.id", "installation_id", "device.id", "device_id", "machine.id", "fiberId"),
    *("user.*", "user_id", "user_email", "*userId", "*.user_id", "enduser.*", "account.*", "account_id"),
    *("*.account_id", "*account_uuid", "organization.*", "organization_id", "org.id", "org_id", "tenant.id"),
    *("process.pid", "process.parent_pid", "process.owner", "api_key", "*.api_key", "*authorization*", "*.headers.*"),
    *("http.request.header.*", "http.response.header.*", "client.address", "client.port", "network.peer.*"),
    *("network.local.*", "*system_fingerprint"),
)

# Where on the disk, in the shell or on the net.
PLACES: Final = (
    *("cwd", "path", "*.path", "file_path", "*.file_path", "file_name", "*.filepath", "directory", "*_directory"),
    *("command", "full_command", "bash_command", "bash_argv0", "command_line", "process.command*"),
    "process.executable.name",  # the whole path, from Node's SDK and some of Python's
    *("url.full", "url.query", "url.path", "url.fragment", "*.url", "*.url.full", "*.uri", "http.target"),
    *("endpoint", "server.address", "user_agent.original", "vcs.*", "code.*"),
)

# Free text that says what went wrong or why.
ERROR_TEXTS: Final = (
    *("error", "error.message", "error_message", "*.error_message", "*.error.message", "exception.message"),
    *("exception.stacktrace", "*.stacktrace", "stack_trace", "status_message", "message", "*.reasoning"),
)

# Numbers and times that some agents send as attributes (Gemini CLI sends CPU microseconds and
# lines of a file so): every call would be a series of its own.
NUMBERS: Final = (
    *("lines", "tokens_before", "tokens_after", "cpu_usage_user", "cpu_usage_system", "content_length"),
    *("*_length", "*.duration_ms", "duration_ms", "start_time", "end_time", "*.timestamp", "event.sequence"),
    *("*.sequence",),
)

# What users, models and tools said to each other; with the names of section 14.5 rule 8 the ones
# that frameworks use for the same.
CONTENT: Final = (
    *("prompt", "prompt_text", "user_prompt", "*.prompt.text", "ai.prompt*", "gen_ai.prompt", "gen_ai.prompt.*.*"),
    *("response", "response_text", "request_text", "ai.response.text", "ai.response.toolCalls", "gen_ai.completion*"),
    *("arguments", "*.arguments", "function_args", "tool_input", "tool_parameters", "tool.parameters", "*.args"),
    *("output", "tool_output", "tool_result", "*.toolCall.result", "*.call.result", "result_text", "body", "content"),
    *("*.content", "*.messages", "*_messages", "*_messages.*", "*.system_instructions", "system_prompt"),
    *("input", "input.value", "output.value", "*.entity.input", "*.entity.output", "*.tool.definitions"),
    *("llm.prompts*", "llm.prompt_template*", "llm.invocation_parameters", "*.description", "query", "*.query.text"),
    *("retrieval.documents*", "embedding.*", "reranker.*", "metadata", "*.metadata.*", "*.association.properties.*"),
)

NEVER_LABELS: Final = (*IDENTITIES, *PLACES, *ERROR_TEXTS, *NUMBERS, *CONTENT)
DROP_ATTRIBUTES: Final = NEVER_LABELS


def compile_drop(patterns: Iterable[str]) -> Matcher:
    """Compile patterns of attribute names to a test of one name."""
    return matcher(patterns)


never_label: Final = compile_drop(NEVER_LABELS)
