"""Exact binomial bounds (Clopper and Pearson, Biometrika 1934), by bisection on the binomial tail."""

import math
from collections.abc import Callable

_STEPS = 60


def tail_at_least(wins: int, trials: int, chance: float) -> float:
    """The probability of `wins` or more out of `trials`."""
    if wins <= 0:
        return 1.0
    if chance in (0.0, 1.0):
        return chance
    log_fact = math.lgamma(trials + 1)
    terms = (
        log_fact
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(chance)
        + (trials - k) * math.log1p(-chance)
        for k in range(wins, trials + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def clopper_pearson(wins: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval for the chance of winning: nothing outside it would give this result so often."""
    if not 0 <= wins <= trials or not trials:
        message = "wins are among trials, of which there is at least one"
        raise ValueError(message)
    rest = (1 - confidence) / 2
    low = 0.0 if wins == 0 else _bisect(lambda p: tail_at_least(wins, trials, p) < rest)
    high = 1.0 if wins == trials else _bisect(lambda p: 1 - tail_at_least(wins + 1, trials, p) > rest)
    return low, high


def _bisect(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2
