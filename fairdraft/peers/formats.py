"""Every format that is read: its reader, the fields it takes, what biases them, what it cannot say.

`read` tries them in this order, and docs/formats.md is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fairdraft.peers import metrics
from fairdraft.peers.aiperf import exports as aiperf
from fairdraft.peers.base import Reading, Record
from fairdraft.peers.fairdraft import bench as fairdraft_bench
from fairdraft.peers.fairdraft import logs as fairdraft_logs
from fairdraft.peers.guidellm import reports as guidellm
from fairdraft.peers.llama_cpp import logs as llama_cpp_logs
from fairdraft.peers.llama_cpp import responses as llama_cpp_responses
from fairdraft.peers.sglang import bench as sglang_bench
from fairdraft.peers.sglang import logs as sglang_logs
from fairdraft.peers.sglang import responses as sglang_responses
from fairdraft.peers.sglang import server_info as sglang_server_info
from fairdraft.peers.tensorrt_llm import iterations as tensorrt_llm
from fairdraft.peers.vllm import bench as vllm_bench
from fairdraft.peers.vllm import logs as vllm_logs
from fairdraft.peers.vllm import responses as vllm_responses

TextReader = Callable[[str, str], list[Reading] | None]
JsonReader = Callable[[Sequence[Record], str], list[Reading] | None]
R = TypeVar("R", TextReader, JsonReader)


@dataclass(frozen=True)
class Format(Generic[R]):
    """A format and its reader.

    Args:
        title: who writes what.
        reader: from the content and a name for people to readings; None if it is something else.
        read: fields of the file, each with what is made of it.
        biased: what the figures are biased by.
        unknown: what cannot be known from it.
    """

    title: str
    reader: R
    read: tuple[tuple[str, str], ...]
    biased: tuple[str, ...]
    unknown: tuple[str, ...]


_SERVED = (
    "prompts and idle time are in the step time, which is requests × tokens a step / throughput"
)
_NO_POSITIONS = "which positions stood"
_CHUNKED = "what the network or the server puts together counts as accepted"

TEXT_FORMATS: tuple[Format[TextReader], ...] = (
    Format(
        "vLLM: a server's log (V1 from 0.8.5 on, and V0)",
        vllm_logs.read_log,
        (
            (
                "`Avg generation throughput`, `Running`, `Waiting`",
                "tokens/s, requests, waiting, a window",
            ),
            ("`Avg prompt throughput`", "prompt tokens/s"),
            ("`GPU KV cache usage`, `Preemptions`", "KV usage, preemptions"),
            ("`Engine 000`, `2 Engines Aggregated`", "engines; those of one server are added up"),
            ("`Accepted`, `Drafted`", "counts of a window"),
            (
                "`Per-position acceptance rate`",
                "survivals, k; with the counts: rounds (drafted / k; accepted / the sum of the "
                "rates if k varied)",
            ),
            (
                "`Mean acceptance length`",
                "checked; before 0.9 it lacks the bonus token",
            ),
            ("times, `Drafted throughput`", "seconds of a window"),
            (
                "V0: `Number of … tokens`",
                "counts since the start, or between the first and the last line; accepted is "
                "emitted − rounds",
            ),
        ),
        (
            _SERVED,
            "running requests are those of the moment the line is written",
            "if k varied, positions that were not drafted count as rejected",
            "a window without a line of drafts counts as one without drafts",
        ),
        ("the time of drafting", "which requests drafted", "in V0: positions, and windows' drafts"),
    ),
    Format(
        "SGLang: a server's log",
        sglang_logs.read_log,
        (
            (
                "`#running-req`, `gen throughput`, `accept len`",
                "requests, tokens/s, length of a line's steps",
            ),
            (
                "`accept rate`",
                "k, the whole number that fits every line; the rate counted the bonus token before "
                "May 2026",
            ),
            ("`#queue-req`, `token usage`, `#retracted_reqs`", "waiting, KV usage, preemptions"),
            ("`Prefill batch`: `#new-token`", "prompt tokens/s"),
            ("times", "steps between two lines, of logs of 10 s and more; else 40"),
            ("`DP0`, `DP1`", "engines, added up; ranks `TP1` and on are left out"),
        ),
        (
            _SERVED,
            "a line after a pause has the pause in its throughput, and is left out",
            "k of a tree is its nodes, not its depth",
            "counts hang on the steps between two lines",
        ),
        (_NO_POSITIONS, "the time of drafting", "k, in logs without `accept rate`"),
    ),
    Format(
        "vLLM, SGLang, llama.cpp: a saved /metrics page, or two",
        metrics.read_page,
        (
            (
                "`spec_decode_num_drafts`, `…_draft_tokens`, `…_accepted_tokens`",
                "counts (vLLM, llama.cpp)",
            ),
            ("`…_accepted_tokens_per_pos`", "survivals"),
            (
                "`inter_token_latency_seconds` (vLLM)",
                "step time: it is observed once a request and step",
            ),
            (
                "`generation_tokens`, `prompt_tokens`",
                "tokens/s, where the seconds in between are known",
            ),
            (
                "`num_requests_waiting`, `kv_cache_usage_perc`, `num_preemptions`",
                "as they are called",
            ),
            (
                "`spec_accept_length`, `spec_accept_rate` (SGLang)",
                "length; k = (length − 1) / rate",
            ),
            ("`tokens_predicted_seconds` (llama.cpp)", "step time"),
        ),
        (
            "one page counts since the server started, warm-up included",
            "gauges are the mean of two moments",
            "SGLang's length and rate are the last interval's, its k too low before May 2026",
        ),
        ("windows", "the time of drafting", "seconds between two saved pages, and so tokens/s"),
    ),
    Format(
        "vLLM: what `vllm bench serve` prints",
        vllm_bench.read_console,
        (
            ("`Drafts`, `Draft tokens`, `Accepted tokens`, `Position i`", "counts, survivals"),
            ("`Acceptance length`", "checked against them"),
            ("`Mean TPOT`", "inter-token latency; times tokens a step: step time"),
            ("`Mean ITL`", "inter-chunk latency"),
            ("`Output token throughput`, `Maximum request concurrency`", "tokens/s, requests"),
        ),
        (
            "other requests that the server answered meanwhile are in the counts",
            "steps are tokens − requests − accepted: the share of steps with a draft hangs on it",
        ),
        ("windows", "the time of drafting", "drafts, of vLLM before 0.12"),
    ),
    Format(
        "llama.cpp: logs of llama-server, llama-cli, llama-speculative-simple",
        llama_cpp_logs.read_log,
        (
            ("`eval time = … ms / … tokens`", "time and tokens of a request: step time"),
            ("`draft acceptance = … accepted / … generated`", "counts of a request"),
            ("`mean acceptance length`, `acceptance rate per position`", "rounds, survivals"),
            ("`statistics …: #gen drafts, #gen tokens, dur`", "rounds, time of drafting, method"),
            (
                "`n_draft`, `n_predict`, `n_drafted`, `n_accept`, `decoded … seconds`",
                "of llama-speculative-simple: longest draft, steps, counts, step time",
            ),
        ),
        (
            "where neither statistics nor mean length are printed, steps without a draft count as "
            "rounds: k and length read low",
            "statistics count since the program started: of a part of a log their share is taken",
            "speeds are of one request",
        ),
        ("how many requests ran side by side", "prompts in the step time"),
    ),
)

JSON_FORMATS: tuple[Format[JsonReader], ...] = (
    Format(
        "fairdraft: results of `fairdraft bench run`",
        fairdraft_bench.read_bench,
        (
            (
                "`cells`: `counters`, `times`, `tokens_per_second`",
                "counts, step time, tokens/s, by cell",
            ),
        ),
        ("prefill is in the step time, of all runs alike",),
        ("windows",),
    ),
    Format(
        "fairdraft: a step trace",
        fairdraft_logs.read_trace,
        (
            (
                "`requests`: `draft_token_ids`, `num_accepted`; `times`",
                "counts by position, step time",
            ),
        ),
        ("the step time is of steps that only decode",),
        ("waiting requests",),
    ),
    Format(
        "SGLang: lines of bench_serving",
        sglang_bench.read_serving,
        (
            ("`accept_length`", "length; null is a run without speculation"),
            ("`mean_tpot_ms`", "inter-token latency; × length: step time"),
            ("`mean_itl_ms`", "inter-chunk latency, where it is one (OpenAI backends)"),
            (
                "`output_throughput`, `concurrency`, `total_input_tokens`",
                "tokens/s, requests, prompts",
            ),
        ),
        ("the length is the server's since it started, not this run's",),
        ("k, and so the acceptance rate and the most that k can reach", _NO_POSITIONS, "windows"),
    ),
    Format(
        "vLLM: results of `vllm bench serve --save-result`, and folders of `vllm bench sweep`",
        vllm_bench.read_bench,
        (
            ("`spec_decode_num_drafts`, `…_draft_tokens`, `…_accepted_tokens`", "counts"),
            ("`spec_decode_per_position_acceptance_rates`", "survivals"),
            ("`mean_tpot_ms`", "inter-token latency; × tokens a step: step time"),
            ("`mean_itl_ms`", "inter-chunk latency"),
            ("`total_output_tokens`, `completed`, `duration`", "steps, seconds"),
        ),
        ("other requests that the server answered meanwhile are in the counts",),
        ("windows", "the time of drafting", "drafts, of vLLM before 0.12"),
    ),
    Format(
        "SGLang: lines of scripts/playground/bench_speculative.py",
        sglang_bench.read_rows,
        (
            (
                "`acc_length`, `steps`, `num_draft_tokens`, `step_time`, `speed`",
                "length, k, nodes, step time",
            ),
        ),
        ("step time is the 20th percentile of the steps, not their mean",),
        ("counts, so no interval", _NO_POSITIONS),
    ),
    Format(
        "AIPerf: `profile_export_aiperf.json`",
        aiperf.read_summary,
        (
            (
                "`total_spec_decode_steps`, `total_draft_tokens`, `total_accepted_draft_tokens`",
                "counts",
            ),
            ("`pooled_spec_decode_acceptance_histogram`", "survivals"),
            ("`inter_token_latency`, `inter_chunk_latency`", "the two latencies"),
            ("`request_latency` × `request_throughput`", "requests"),
        ),
        ("without counts a step is taken to be a chunk", _CHUNKED),
        ("without counts: k, positions", "windows"),
    ),
    Format(
        "AIPerf: `profile_export.jsonl`",
        aiperf.read_records,
        (
            ("`spec_decode_acceptance`", "counts of a request, survivals"),
            ("`inter_token_latency`, `inter_chunk_latency`", "the two latencies; step time"),
            ("`request_start_ns`, `request_end_ns`, `request_latency`", "seconds, requests"),
        ),
        ("without counts a step is taken to be a chunk", _CHUNKED),
        ("without counts: k, positions",),
    ),
    Format(
        "GuideLLM: its report in JSON",
        guidellm.read_report,
        (
            ("`inter_token_latency_ms`", "inter-token latency"),
            ("`iter_tokens_per_iteration`", "tokens a chunk, about the mean acceptance length"),
            ("`output_tokens_per_second`, `request_concurrency`", "tokens/s, requests"),
        ),
        ("a step is taken to be a chunk", _CHUNKED),
        (
            "k",
            _NO_POSITIONS,
            "which steps had a draft",
            "reports without iterations: whether it speculated",
        ),
    ),
    Format(
        "TensorRT-LLM: iteration statistics",
        tensorrt_llm.read_iterations,
        (
            (
                "`numRequestsWithDraftTokens`, `numDraftTokens`, `numAcceptedTokens`",
                "counts",
            ),
            ("`iterLatencyMS`, of iterations that only generate", "step time"),
            ("`specDecodingStats.iterLatencyMS`", "time of drafting"),
            (
                "`inflightBatchingStats`, `numQueuedRequests`, `kvCacheStats`",
                "requests, prompts, waiting, KV usage",
            ),
        ),
        ("`numPausedRequests` are counted an iteration, as preemptions",),
        (_NO_POSITIONS,),
    ),
    Format(
        "SGLang: /server_info",
        sglang_server_info.read_server_info,
        (
            ("`avg_spec_accept_length`, `speculative_num_steps`", "length, k"),
            ("`step_time_dict`", "step time (SGLANG_RECORD_STEP_TIME=1)"),
        ),
        ("since the server started, warm-up included",),
        ("counts, so no interval", _NO_POSITIONS),
    ),
    Format(
        "llama.cpp: answers of llama-server, streams of them, or their `timings`",
        llama_cpp_responses.read_responses,
        (
            ("`predicted_n`, `predicted_ms`", "tokens and time: step time"),
            ("`draft_n`, `draft_n_accepted`", "counts"),
        ),
        ("steps without a draft count as rounds: k and length read low",),
        ("rounds", _NO_POSITIONS, "how many requests ran side by side"),
    ),
    Format(
        "SGLang: answers with `sglext` or `meta_info`",
        sglang_responses.read_responses,
        (
            ("`spec_verify_ct`, `spec_num_proposed_drafts`, `spec_num_correct_drafts`", "counts"),
            ("`spec_correct_drafts_histogram`", "survivals"),
            ("`completion_tokens`", "steps, those without a draft included"),
        ),
        ("if k varied within an answer, positions that were not drafted count as rejected",),
        ("the step time",),
    ),
    Format(
        "vLLM, TensorRT-LLM: answers with counts",
        vllm_responses.read_responses,
        (
            ("`num_spec_steps`, `num_draft_tokens`, `num_accepted_draft_tokens`", "counts"),
            ("`acceptance_histogram`", "survivals"),
            ("`per_step_drafted`", "each position's own rounds"),
            ("`generation_time_ms`, `completion_tokens`", "step time, steps"),
        ),
        ("without `per_step_drafted`, positions that were not drafted count as rejected",),
        (
            "how many requests ran side by side",
            "the step time, without --enable-per-request-metrics",
        ),
    ),
)
