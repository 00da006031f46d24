"""vLLM: its logs, benchmark results, metrics and flags."""
