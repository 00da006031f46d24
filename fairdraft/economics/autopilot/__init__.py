"""What is drafted, step by step: chosen for what it is worth, learned from what became of it.

`pilot`: the one object that decides and learns, whoever drives it: a proposer while the engine
runs, or `replay` over a trace. `best_lengths`, `best_method`: the two ways to choose.
"""
