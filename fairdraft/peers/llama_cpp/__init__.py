"""llama.cpp: its logs, responses, metrics and flags."""
