"""Somebody who uses the models while they are being published: opens each release, and is never in a hurry."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from job.errors import ManyfitError
from job.registry.model_set import ModelSet

X = 2.0


class Reader:
    """Opens the current release with `ModelSet`, whose loading verifies digests, and reads it; and the one before it
    once more, for whoever opened that and is still at work.

    Parameters
    ----------
    uri
        The output.
    again
        Read the release before once more; not where a ``gc`` keeps but one version.
    """

    def __init__(self, uri: str, *, again: bool = True) -> None:
        self.uri, self.again = uri, again
        self.opened: tuple[ModelSet, dict[str, float]] | None = None
        self.read = 0
        """models that were loaded and asked"""

    def look(self, slopes: Mapping[str, float]) -> list[str]:
        """What is wrong with the current release, and with the one that was opened before.

        Parameters
        ----------
        slopes
            Of every model in the current release, by the auditor's own reading.
        """
        problems = []
        if self.opened is not None and self.again:
            problems += [f"to whoever opened it before, {said}" for said in self._read(*self.opened)]
        try:
            models = ModelSet.open(self.uri, cache=1)
        except ManyfitError as error:
            return [*problems, f"cannot be opened: {error.message}"]
        self.opened = models, dict(slopes)
        return problems + self._read(*self.opened)

    def _read(self, models: ModelSet, slopes: Mapping[str, float]) -> list[str]:
        where = f"version {models.version}"
        if set(models) != slopes.keys():
            return [f"{where} has the models {sorted(models)} instead of {sorted(slopes)}"]
        problems = []
        for number, key in enumerate(models):
            try:
                model = models[key]
            except ManyfitError as error:
                problems.append(f"{where}: {error.message}")
                continue
            # One is asked, the others only looked at: predicting takes longer than loading.
            slope = _asked(model) if number == 0 else float(model.coef_[0])
            self.read += 1
            if slope != pytest.approx(slopes[key], abs=1e-6):
                problems.append(f"{where}: the model of {key!r} has the slope {slope} instead of {slopes[key]}")
        return problems


@functools.lru_cache(1024)
def _asked(model: Any) -> float:
    """The slope by a prediction; once for each estimator, as schedules load equal bytes but once."""
    return float(model.predict(pd.DataFrame({"x": [X]}))[0] / X)
