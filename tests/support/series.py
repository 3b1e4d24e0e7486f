"""The names of all series that a run can have, and those that a query of Prometheus names."""

from __future__ import annotations

import re
from collections import Counter

from job.outcome import REASONS
from job.run.metrics import Figures, families


def fullest() -> Figures:
    """The figures of a run that has every series, in training and at its end at once."""
    found = Figures(
        job="j", started=1.0, planned=9, to_train=9, done=9, statuses=Counter({"failed": 9}), reasons=Counter(dict.fromkeys(REASONS, 1)),
        rate=1.0, eta=1.0, executors=1, slowest=1.0, seconds=1.0, exit_code=0, version=1, succeeded=1.0,
    )  # fmt: skip
    found.fits[:] = 1
    return found


def series() -> dict[str, set[str]]:
    """Name of a series to the names of its labels."""
    found: dict[str, set[str]] = {}
    for family in families(fullest()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked(query: str) -> set[str]:
    """The series of ours that a query names."""
    return set(re.findall(r"(?<![\w=\"])manyfit_\w+(?=\{|\[|\)|,| |$)", re.sub(r'manyfit_phase=~?"', '"', query)))
