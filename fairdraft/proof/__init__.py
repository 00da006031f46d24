"""The exact proof that verification leaves the target's law as it is, on fractions.

`exact`: every way a round can go, with its weight. `cases`: rules × drafters × stopping rules.
`mutants`: mistakes known from public code, which the proof must catch.
"""
