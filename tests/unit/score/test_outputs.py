"""Names of the columns that a model's answer becomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from job.score import outputs


@pytest.mark.parametrize("around", [lambda svc: svc, make_pipeline, lambda svc: GridSearchCV(svc, {"C": [1.0]})])
def test_decisions_between_pairs_of_classes_have_numbers_and_not_the_names_of_classes(around: Any) -> None:
    x = np.arange(30.0)[:, None]
    y = np.repeat(["a", "b", "c"], 10)

    def names(shape: str) -> list[str]:
        model = around(SVC(decision_function_shape=shape)).fit(x, y)
        return list(outputs.of(model, model.decision_function(x), 30, method="decision_function", targets=()))

    assert names("ovo") == ["prediction_0", "prediction_1", "prediction_2"]
    assert names("ovr") == ["prediction_a", "prediction_b", "prediction_c"]
