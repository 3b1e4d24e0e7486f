"""How often the gate's test is wrong, and how often it finds what is there, beside two other tests of the same means.

    python -m benchmarks.gate [SERIES]

Series of differences of losses with normal noise and autocorrelation: without an advantage (size: 5 % is right), and
with one of half a standard deviation (power). `cosines` is `job.judge.gate.diebold_mariano`; `kernel` the variance of
Newey and West with normal quantiles; `plain` Student's t without autocorrelation, as Harvey, Leybourne and Newbold have
it for one step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from job.judge.gate import diebold_mariano

LEVEL = 0.05


def kernel(advantage: np.ndarray) -> float:
    """Bartlett's kernel with the usual automatic width."""
    count = len(advantage)
    rest = advantage - advantage.mean()
    width = int(4 * (count / 100) ** (2 / 9))
    variance = rest @ rest / count
    for lag in range(1, width + 1):
        variance += 2 * (1 - lag / (width + 1)) * (rest[lag:] @ rest[:-lag]) / count
    return float(stats.norm.sf(advantage.mean() / np.sqrt(max(variance, 1e-12) / count)))


def plain(advantage: np.ndarray) -> float:
    """As if all rows were independent."""
    count = len(advantage)
    return float(stats.t.sf(advantage.mean() / np.sqrt(advantage.var(ddof=1) / count), count - 1))


TESTS: dict[str, Callable[[np.ndarray], float]] = {"cosines": diebold_mariano, "kernel": kernel, "plain": plain}


def rates(rows: int, correlation: float, series: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Size and power of each test, in percent."""
    noise = np.random.default_rng(seed).normal(size=(series, rows + 50))
    for at in range(1, rows + 50):
        noise[:, at] += correlation * noise[:, at - 1]
    noise = noise[:, 50:] * np.sqrt(1 - correlation**2)

    def found(test: Callable[[np.ndarray], float], advantage: float) -> float:
        return 100 * float(np.mean([test(each + advantage) <= LEVEL for each in noise]))

    return {name: (found(test, 0.0), found(test, 0.5)) for name, test in TESTS.items()}


def main(series: int = 4000) -> None:
    """Print the table."""
    print("rows  correlation  " + "  ".join(f"{name + ' size':>12} {'power':>5}" for name in TESTS))
    for rows in (30, 60, 120):
        for correlation in (0.0, 0.3, 0.6):
            told = rates(rows, correlation, series)
            print(
                f"{rows:<5} {correlation:<12} "
                + "  ".join(f"{size:12.1f} {power:5.0f}" for size, power in told.values())
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
