"""Real servers on this machine that answer /metrics as vLLM does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNTERS = """\
# TYPE vllm:spec_decode_num_drafts counter
vllm:spec_decode_num_drafts_total{{engine="0"}} {drafts}
# TYPE vllm:spec_decode_num_draft_tokens counter
vllm:spec_decode_num_draft_tokens_total{{engine="0"}} {drafted}
# TYPE vllm:spec_decode_num_accepted_tokens counter
vllm:spec_decode_num_accepted_tokens_total{{engine="0"}} {accepted}
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="0"}} {first}
vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="1"}} {second}
"""
SERVED = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0"}} 3
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0"}} 0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0"}} 0.25
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{{engine="0"}} {tokens}
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{{engine="0",le="+Inf"}} {steps}
vllm:inter_token_latency_seconds_count{{engine="0"}} {steps}
vllm:inter_token_latency_seconds_sum{{engine="0"}} {seconds}
"""


def speculating(asked: int) -> str:
    """A page of a server that makes 200 steps of 15 ms between any two, each with a draft of 2."""
    n = 200 * asked
    counts = COUNTERS.format(drafts=n, drafted=2 * n, accepted=n, first=0.7 * n, second=0.3 * n)
    return counts + SERVED.format(tokens=2 * n, steps=n, seconds=0.015 * n)


def plain(asked: int) -> str:
    """A page of a server without speculation, whose steps take 10 ms."""
    n = 200 * asked
    return SERVED.format(tokens=n, steps=n, seconds=0.01 * n)


@contextmanager
def serving(answer: Callable[[int], str | int]) -> Iterator[str]:
    """Serve /metrics until the block ends.

    Args:
        answer: from how often the page was asked for, from 1 on: the page, or a status.

    Yields:
        The address.
    """
    asked = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal asked
            found: str | int = 404
            if self.path == "/metrics":
                asked += 1
                found = answer(asked)
            self.send_response(found if isinstance(found, int) else 200)
            self.end_headers()
            self.wfile.write(b"no" if isinstance(found, int) else found.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join()
