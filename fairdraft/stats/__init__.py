"""Statistics of counts: intervals, tests against a law, e-values, several tests at once.

numpy only; what needs scipy imports it when it is called.
"""

from fairdraft.stats.e_values import E_VALUE_LIMIT, log_e_value
from fairdraft.stats.goodness import distance, distance_limit, g_test
from fairdraft.stats.holm import holm
from fairdraft.stats.intervals import LEVEL, Estimate, interval, ratio_of_means, share, wilson

__all__ = [
    "E_VALUE_LIMIT",
    "LEVEL",
    "Estimate",
    "distance",
    "distance_limit",
    "g_test",
    "holm",
    "interval",
    "log_e_value",
    "ratio_of_means",
    "share",
    "wilson",
]
