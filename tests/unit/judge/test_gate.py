"""The gate's arithmetic: one comparison, many decisions, and how often they are wrong."""

from __future__ import annotations

import runpy
import time
from pathlib import Path

import numpy as np
import pytest

from job.judge import gate, losses
from job.judge.gate import FIRST, KEPT, PROMOTED, STATES, UNDECIDABLE

REPOSITORY = Path(__file__).parents[3]
RULES = {"min_rows": 30, "min_gain": 0.01, "alpha": 0.05}


def decided(cases: list[tuple[bool, int, float, float]], **changed: object) -> list[str]:
    first, rows, gain, p = (np.array(each) for each in zip(*cases, strict=True))
    return [STATES[each] for each in gate.decide(first, rows, gain, p, **{**RULES, **changed})]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "rows", "gain", "p", "state"),
    [
        (True, 0, np.nan, np.nan, FIRST),  # nothing was published yet
        (True, 100, 0.5, 0.0001, FIRST),
        (False, 30, 0.10, 0.001, PROMOTED),
        (False, 29, 0.10, 0.001, UNDECIDABLE),  # one row too few
        (False, 0, np.nan, np.nan, UNDECIDABLE),  # the champion could not be loaded
        (False, 100, 0.10, 0.06, KEPT),  # may be luck
        (False, 100, 0.009, 0.0001, KEPT),  # surely better, and not by enough
        (False, 100, 0.010, 0.0001, PROMOTED),
        (False, 100, 0.0, 1.0, KEPT),  # the same
        (False, 100, -0.3, 1.0, KEPT),  # worse
        (False, 100, -np.inf, 1.0, KEPT),  # the champion makes no error
    ],
)
def test_the_state_of_one_key(first: bool, rows: int, gain: float, p: float, state: str) -> None:
    assert decided([(first, rows, gain, p)]) == [state]


def test_without_a_least_gain_an_equal_model_is_still_not_better() -> None:
    assert decided([(False, 100, 0.0, 0.0)], min_gain=0.0) == [KEPT]


def test_without_the_test_the_gain_alone_decides() -> None:
    assert decided([(False, 100, 0.02, np.nan), (False, 100, 0.0, np.nan)], paired=False) == [PROMOTED, KEPT]


def test_one_lucky_key_among_many_is_not_promoted() -> None:
    """0.04 alone would pass; among a hundred keys that are no better it is what chance brings."""
    assert decided([(False, 100, 0.1, 0.04)]) == [PROMOTED]
    assert set(decided([(False, 100, 0.1, 0.04)] + [(False, 100, 0.1, 0.5)] * 99)) == {KEPT}


def test_keys_that_cannot_be_judged_do_not_weigh_on_the_others() -> None:
    cases = [(False, 100, 0.1, 0.04)] + [(False, 3, 0.1, 0.9)] * 500 + [(True, 0, np.nan, np.nan)] * 500
    assert decided(cases)[0] == PROMOTED


@pytest.mark.parametrize(
    ("p", "alpha", "rejected"),
    [
        ([], 0.05, []),
        ([0.05], 0.05, [True]),
        ([0.01, 0.02, 0.03, 0.04, 0.05], 0.05, [True] * 5),  # the largest is within its line, so all are
        ([0.04, 0.9], 0.05, [False, False]),
        ([0.9, 0.02, np.nan], 0.05, [False, True, False]),
        # Benjamini and Hochberg (1995), section 3.2: the four smallest of fifteen
        (
            [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0],
            0.05,
            [True] * 4 + [False] * 11,
        ),
    ],
)  # fmt: skip
def test_benjamini_and_hochberg(p: list[float], alpha: float, rejected: list[bool]) -> None:
    assert gate.discoveries(np.array(p, float), alpha).tolist() == rejected


def test_a_comparison_has_both_scores_as_the_scorer_would_give_them() -> None:
    from sklearn.metrics import mean_squared_error

    rng = np.random.default_rng(0)
    truth, old, new = rng.normal(size=(3, 40))
    told = gate.compare(
        "neg_root_mean_squared_error", *(losses.rows("neg_root_mean_squared_error", truth, each) for each in (old, new))
    )
    assert told.champion == pytest.approx(-np.sqrt(mean_squared_error(truth, old)))
    assert told.challenger == pytest.approx(-np.sqrt(mean_squared_error(truth, new)))
    assert told.gain == pytest.approx(1 - told.challenger / told.champion)
    assert told.rows == 40


@pytest.mark.parametrize(
    ("advantage", "p"),
    [
        ([0.0] * 50, 1.0),  # the same predictions
        ([1.0] * 50, 0.0),  # better by as much in each row
        ([-1.0] * 50, 1.0),
        ([1.0, 2.0], 1.0),  # two rows say nothing
        ([np.nan] * 50, 1.0),
        ([np.inf] * 50, 1.0),
    ],
)
def test_a_comparison_without_variation(advantage: list[float], p: float) -> None:
    assert gate.diebold_mariano(np.array(advantage)) == p


def test_the_order_of_magnitude_of_losses_does_not_matter() -> None:
    advantage = np.random.default_rng(0).normal(0.3, 1, size=60)
    whole = gate.diebold_mariano(advantage)
    for scale in (1e-9, 1e9):
        assert gate.diebold_mariano(advantage * scale) == pytest.approx(whole)


@pytest.mark.parametrize(("rows", "correlation"), [(30, 0.0), (30, 0.5), (100, 0.5), (200, 0.6)])
def test_the_test_has_its_size_on_short_and_correlated_series(rows: int, correlation: float) -> None:
    """3,000 series of equally good models; the bound is three standard errors above 5 and 1 %, and a half more."""
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(3000, rows + 50))
    for at in range(1, rows + 50):
        noise[:, at] += correlation * noise[:, at - 1]
    p = np.array([gate.diebold_mariano(each) for each in noise[:, 50:]])
    assert (p < 0.05).mean() <= 0.067
    assert (p < 0.01).mean() <= 0.02
    assert (p < 0.05).mean() >= 0.03  # nor does it refuse to find anything


def fleet(rng: np.random.Generator, keys: int, better: int, rows: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """States of a run of ``keys``, of which the first ``better`` have a challenger whose error is smaller by ``gap``."""
    found = []
    for key in range(keys):
        truth = rng.normal(size=rows)
        old, new = truth + rng.normal(size=(2, rows))
        if key < better:
            new = truth + (new - truth) * (1 - gap)
        pair = [losses.rows("neg_mean_absolute_error", truth, each) for each in (old, new)]
        found.append(gate.compare("neg_mean_absolute_error", *pair))
    states = gate.decide(
        np.zeros(keys, bool),
        np.array([each.rows for each in found]),
        np.array([each.gain for each in found]),
        np.array([each.p for each in found]),
        min_rows=30,
        min_gain=0.01,
        alpha=0.05,
    )
    return states, states == STATES.index(PROMOTED)


def test_among_equal_models_hardly_a_run_promotes_any() -> None:
    """A/A: 60 runs of 300 keys each. All are equal, so each promotion is false: at most alpha of the runs has one."""
    rng = np.random.default_rng(11)
    promoted = [int(fleet(rng, 300, 0, 56, 0.0)[1].sum()) for _ in range(60)]
    assert sum(each > 0 for each in promoted) <= 60 * 0.05 + 3 * np.sqrt(60 * 0.05 * 0.95)
    assert sum(promoted) / (60 * 300) <= 0.05


def test_planted_better_models_are_found_and_few_others_with_them() -> None:
    """400 keys, a quarter of whose challengers have half the error: 90 % are found, alpha of the promoted are false."""
    rng = np.random.default_rng(5)
    found, false = [], []
    for _ in range(5):
        _, promoted = fleet(rng, 400, 100, 84, 0.5)
        found.append(promoted[:100].mean())
        false.append(promoted[100:].sum() / promoted.sum())
    assert np.mean(found) >= 0.9
    assert np.mean(false) <= 0.05


def test_planted_worse_models_are_never_promoted() -> None:
    _, promoted = fleet(np.random.default_rng(3), 300, 300, 56, -0.5)
    assert not promoted.any()


def test_a_hundred_thousand_keys_are_decided_within_two_seconds() -> None:
    rng = np.random.default_rng(0)
    many = 100_000
    begin = time.process_time()
    gate.decide(rng.random(many) < 0.1, rng.integers(0, 200, many), rng.normal(0, 0.1, many), rng.random(many), **RULES)
    assert time.process_time() - begin < 2


def test_the_benchmark_of_the_test_says_that_the_others_reject_too_often() -> None:
    # By its path: benchmarks/ is not part of the wheel, on which the tests run.
    told = runpy.run_path(str(REPOSITORY / "benchmarks" / "gate.py"))["rates"](30, 0.6, 400)
    assert told["cosines"][0] < 12 < min(told["plain"][0], 15)
    assert told["cosines"][1] > 20
