"""Training as the operation of a task: fits one model for each key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from job.fit import partition_fit
from job.fit.contest import Champion
from job.fit.partition_fit import Fitting, Result
from job.keys import model_name
from job.outcome import TRAINED
from job.reader.spec import VERSION, ReadSpec
from job.score.part import Part
from job.worker.operation import Payload


@dataclass(frozen=True, kw_only=True)
class Training:
    """Fits each key's rows."""

    fitting: Fitting
    """the recipe and the settings of a fit"""
    recipe: str
    """fingerprint of the recipe"""
    environment: str
    """fingerprint of the environment"""

    @property
    def done(self) -> str:
        """The status of a trained key."""
        return TRAINED

    @property
    def named(self) -> str:
        """The work on one key, for messages."""
        return "the fit"

    @property
    def spec(self) -> ReadSpec:
        """How bytes become rows."""
        return self.fitting.spec

    def run(
        self, key: str, rows: Callable[[], pa.Table], champion: Champion | None = None, payload: Payload | None = None
    ) -> Result:
        """Fit, serialise and check the model, and compare it with the live model if there is a gate."""
        return partition_fit.fit_rows(self.fitting, key, rows, champion)

    def of_error(self, error: BaseException) -> Result:
        """The result of a key that could not be read: skipped if it has no rows, else failed."""
        return partition_fit.of_error(self.fitting.on_empty, error)

    def pack(self, tables: Sequence[pa.Table]) -> Part:
        """Never called, because each model is an object of its own."""
        raise NotImplementedError

    def place(self, key: str, digest: str) -> str:
        """The path of the model file."""
        return model_name(key, digest)

    def columns(self) -> dict[str, Any]:
        """The fingerprints of recipe and environment, which the next plan compares."""
        return {"recipe": self.recipe, "environment": self.environment, "reading": VERSION}
