"""Losses of rows, whose means are scikit-learn's scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from job.judge import losses

RNG = np.random.default_rng(0)
TRUTH, GUESS = RNG.normal(size=(2, 50))


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        ("neg_mean_absolute_error", metrics.mean_absolute_error),
        ("neg_mean_squared_error", metrics.mean_squared_error),
        ("neg_root_mean_squared_error", metrics.root_mean_squared_error),
    ],
)
def test_the_mean_loss_of_a_regression_is_the_score(metric: str, function: object) -> None:
    for truth, guess in ((TRUTH, GUESS), (TRUTH.reshape(25, 2), GUESS.reshape(25, 2))):
        if truth.ndim == 2 and metric == "neg_root_mean_squared_error":
            continue  # scikit-learn takes the mean of the targets' roots
        score = losses.scored(metric, losses.rows(metric, truth, guess).mean())
        assert score == pytest.approx(-function(truth, guess))  # type: ignore[operator]


def test_the_mean_loss_of_classes_is_one_less_the_accuracy() -> None:
    truth, guess = RNG.integers(0, 3, size=(2, 50))
    score = losses.scored("accuracy", losses.rows("accuracy", truth, guess).mean())
    assert score == pytest.approx(metrics.accuracy_score(truth, guess))


def test_the_mean_loss_of_probabilities_is_the_log_loss() -> None:
    classes = np.array(["a", "b", "c"])
    chances = RNG.dirichlet([1, 1, 1], 50)
    truth = RNG.choice(classes, 50)
    score = losses.scored("neg_log_loss", losses.rows("neg_log_loss", truth, chances, classes).mean())
    assert score == pytest.approx(-metrics.log_loss(truth, chances, labels=classes))


def test_a_class_that_the_model_does_not_know_costs_much_and_not_everything() -> None:
    loss = losses.rows("neg_log_loss", np.array(["z", "a"]), np.array([[0.5, 0.5]] * 2), np.array(["a", "b"]))
    assert loss == pytest.approx([-np.log(np.finfo(float).eps), np.log(2)])
