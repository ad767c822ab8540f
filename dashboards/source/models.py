"""The board of models and cost: which model earns its price, and whether its provider is well."""

from __future__ import annotations

from .ask import FRESH, RANGE, RATE, buckets, link, part, per_minute, quantile, total
from .frame import Board, Row
from .limits import BAD, above, below
from .panels import STEADY, Column, Query, density, dial, number_now, rows, series

REQUESTS = "agent_model_requests_total"
ENDED = 'agent_model_requests_total{status=~"ok|error"}'
FAILED = 'agent_model_requests_total{status="error"}'
DURATION = "agent_model_request_duration_seconds"
FIRST = "agent_model_time_to_first_token_seconds"
ANSWER = '{type=~"output|reasoning"}'
PROMPT = '{type=~"input|cache_read|cache_write"}'
EACH = "provider, model"
NAMED = "{{provider}} {{model}}"

COMPARISON = Row(
    "Which model earns its price?",
    [
        rows(
            "Models",
            "How do the models compare in this time range? Fresh tokens are those not read from a cache.",
            [
                Column("Provider", label="provider"),
                Column("Model", label="model", link=link("agent-models", model="Model")),
                Column("Requests", total(ENDED, EACH), decimals=0),
                Column(
                    "Failed",
                    part(total(FAILED, EACH), total(ENDED, EACH)),
                    "percentunit",
                    above("models.error_ratio", colours=(BAD,)),
                    decimals=1,
                ),
                Column("Sent again", total("agent_model_retries_total", EACH), decimals=0),
                Column("First token p50", quantile(0.5, FIRST, EACH, window=RANGE), "s"),
                Column(
                    "Answer p95",
                    quantile(0.95, DURATION, EACH, window=RANGE),
                    "s",
                    above("models.slow"),
                ),
                Column("Fresh tokens", total("agent_tokens_total" + FRESH, EACH)),
                Column("Cost", total("agent_cost_usd_total", EACH), "currencyUSD", decimals=2),
                Column(
                    "USD per million fresh tokens",
                    "1e6 * " + part(total("agent_cost_usd_total", EACH), total("agent_tokens_total" + FRESH, EACH)),
                    "currencyUSD",
                    decimals=2,
                ),
            ],
            sort="Cost",
            empty="No model was asked",
        )
    ],
)

COST = Row(
    "Will today overrun?",
    [
        number_now(
            "Cost",
            "What did these models cost in this time range?",
            "currencyUSD",
            Query("sum(increase(agent_cost_usd_total[$__range]))", "cost"),
            decimals=2,
            empty="No cost",
        ),
        number_now(
            "Estimated",
            "Which share of the cost is estimated from public prices, because the agent does not say it?",
            "percentunit",
            Query(
                part(
                    'sum(increase(agent_cost_usd_total{basis="estimated"}[$__range]))',
                    "sum(increase(agent_cost_usd_total[$__range]))",
                ),
                "estimated",
            ),
            decimals=0,
            empty="All reported",
        ),
        dial(
            "Budget of a day",
            "How much of its budget did each agent spend in the last 24 hours? Over all models.",
            "percentunit",
            Query("max by (agent) (agent:agent_cost_usd:increase1d) / on () group_left () agent_budget:usd:daily"),
            limits=above(1, colours=(BAD,)),
            empty="No cost",
            size=(16, 4),
        ),
        series(
            "Cost per hour, by model",
            "Which model spends the money now?",
            "currencyUSD",
            Query(f"3600 * sum by (provider, model) (rate(agent_cost_usd_total[{RATE}]))", NAMED),
            stacked=True,
            step=STEADY,
        ),
        series(
            "Tokens without a price, per minute",
            "Which models are missing from the cost? Give their prices in the configuration.",
            "short",
            Query(per_minute("agent_cost_unpriced_tokens_total", "agent, model"), "{{agent}} {{model}}"),
            empty="All priced",
        ),
    ],
)

TRAFFIC = Row(
    "Is the provider in trouble?",
    [
        series(
            "Requests per minute, by how they ended",
            "Do requests get through?",
            "opm",
            Query(per_minute(REQUESTS, "model, status"), "{{model}} {{status}}"),
            stacked=True,
        ),
        series(
            "Share of requests that failed",
            "Does a model refuse or break off more than usual? Over the last 5 minutes of each point, as the alerts"
            " see it.",
            "percentunit",
            Query("agent_model:agent_model_failures_per_requests:ratio_rate5m", "{{agent}} {{model}}"),
            limits=above("models.error_ratio", colours=(BAD,)),
            high=1,
        ),
        series(
            "Failures per minute, by reason",
            "Why do requests fail? Rate limits want fewer requests or a higher tier; server errors want patience or"
            " another model.",
            "opm",
            Query(per_minute(FAILED, "model, error_type"), "{{model}} {{error_type}}"),
            stacked=True,
            empty="No failure",
        ),
        series(
            "Requests sent again, per request",
            "How often must a request be repeated until it works?",
            "percentunit",
            Query(
                part(
                    f"sum by (model) (rate(agent_model_retries_total[{RATE}]))",
                    f"sum by (model) (rate({REQUESTS}[{RATE}]))",
                ),
                "{{model}}",
            ),
            step=STEADY,
            empty="Nothing was sent again, or no agent tells",
        ),
    ],
)

LATENCY = Row(
    "Is the model slow, or are the answers long?",
    [
        series(
            "Whole answer, p95",
            "How long do requests take until the last byte?",
            "s",
            Query("agent_model:agent_model_request_duration_seconds:p95_5m", "{{agent}} {{model}}"),
            limits=above("models.slow"),
        ),
        series(
            "First token, p95",
            "How long until an answer begins?",
            "s",
            Query("agent_model:agent_model_time_to_first_token_seconds:p95_5m", "{{agent}} {{model}}"),
            limits=above("response.slow"),
            empty="No agent tells when an answer begins",
        ),
        density(
            "How long the first token takes",
            "Is every answer late, or only some? A cell is the number of requests that began after that time.",
            "s",
            buckets(FIRST),
            empty="No agent tells when an answer begins",
        ),
        series(
            "Tokens per second of an answer",
            "How fast do models write? If this falls while the first token is fast, the provider is busy.",
            "short",
            Query(
                part(
                    f"sum by (model) (rate(agent_tokens_total{ANSWER}[{RATE}]))",
                    f"sum by (model) (rate({DURATION}_sum[{RATE}]))",
                ),
                "{{model}}",
            ),
            step=STEADY,
        ),
    ],
)

TOKENS = Row(
    "Where do the tokens go?",
    [
        series(
            "Tokens per minute, by type",
            "Is it prompts, answers or thinking? The types do not overlap: together they are all tokens.",
            "short",
            Query(per_minute("agent_tokens_total", "type"), "{{type}}"),
            stacked=True,
        ),
        series(
            "Prompt tokens for each answer token",
            "How much is read for what is written? A rising line is a conversation that drags its past along.",
            "short",
            Query(
                part(
                    f"sum by (model) (rate(agent_tokens_total{PROMPT}[{RATE}]))",
                    f"sum by (model) (rate(agent_tokens_total{ANSWER}[{RATE}]))",
                ),
                "{{model}}",
            ),
            step=STEADY,
        ),
    ],
)

CACHES = Row(
    "Is the cache worth it?",
    [
        series(
            "Prompt tokens read from the provider's cache",
            "How much of the prompt is not paid in full? A sudden fall is a prompt that begins differently each time.",
            "percentunit",
            Query("agent_model:agent_tokens_cache_read:ratio_rate15m", "{{agent}} {{model}}"),
            limits=below("caches.prompt_ratio.collapsed", "caches.prompt_ratio.usual"),
            high=1,
            empty="No model reads from a cache",
        ),
        series(
            "Hits of the agents' own caches",
            "How often was the entry there?",
            "percentunit",
            Query("agent_cache:agent_cache_requests_hit:ratio_rate15m", "{{agent}} {{cache}}"),
            limits=below("caches.hit_ratio.low", "caches.hit_ratio.target"),
            high=1,
            empty="No agent tells of its caches",
        ),
        series(
            "Look-ups per minute",
            "How many look-ups found their entry, and how many had to work?",
            "opm",
            Query(per_minute("agent_cache_requests_total", "cache, result"), "{{cache}} {{result}}"),
            stacked=True,
            empty="No agent tells of its caches",
        ),
        series(
            "Entries thrown out per minute",
            "Is a cache too small? Entries that leave because of size are missed later.",
            "opm",
            Query(per_minute("agent_cache_evictions_total", "cache, reason"), "{{cache}} {{reason}}"),
            stacked=True,
            empty="Nothing was thrown out, or no agent tells",
        ),
        series(
            "Entries",
            "How many entries does each cache hold, and how many may it hold?",
            "short",
            Query("sum by (agent, cache) (agent_cache_entries)", "{{agent}} {{cache}}"),
            Query("sum by (agent, cache) (agent_cache_entries_limit)", "{{agent}} {{cache}} limit"),
            empty="No agent tells of its caches",
        ),
        series(
            "Memory of caches",
            "How much memory do caches hold, and how much may they hold?",
            "bytes",
            Query("sum by (agent, cache) (agent_cache_size_bytes)", "{{agent}} {{cache}}"),
            Query("sum by (agent, cache) (agent_cache_limit_bytes)", "{{agent}} {{cache}} limit"),
            empty="No agent tells of its caches",
        ),
        series(
            "Values fetched because no cache had them",
            "How much work is left to do, and does it fail?",
            "opm",
            Query(per_minute("agent_cache_loads_total", "cache, status"), "{{cache}} {{status}}"),
            stacked=True,
            empty="No agent tells of its loads",
        ),
        series(
            "Fetching and waiting, p95",
            "How long does fetching such a value take, and how long does a caller wait while another one fetches it?",
            "s",
            Query(quantile(0.95, "agent_cache_load_duration_seconds", "agent, cache"), "{{agent}} {{cache}} fetch"),
            Query(quantile(0.95, "agent_cache_load_wait_duration_seconds", "agent, cache"), "{{agent}} {{cache}} wait"),
            step=STEADY,
            empty="No agent tells of its loads",
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    "agent-models",
    "Models & cost",
    "Which model earns its price, what does the day cost, and is the provider well?",
    [COMPARISON, COST, TRAFFIC, LATENCY, TOKENS, CACHES],
    variables=("provider", "model"),
    hidden=("agent_instance",),
)
