"""Which of a run's new models replace the live ones: the gate of `job.judge.gate`, decided over all keys at once. Pure.

Executors have compared each new model with the live one of its key, and an outcome says against which
(`job.outcome.champion_token`). It counts only while that one is live: what was compared with another is compared anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.config.settings import PromoteSettings
from job.errors import AccountingError
from job.judge import gate
from job.outcome import SCHEMA, TRAINED
from job.registry.row import tokens

CHAMPION = ("key", "digest", "size", "versions", "until", "judged_until")
"""Columns of the published table that a comparison needs."""
_DIGEST = 64
"""letters of a SHA-256, in hexadecimal digits"""
OF_MODEL = (
    *("digest", "size", "rows", "metrics", "warnings", "seconds"),
    *("estimator", "skill", "windows", "horizons", "residuals", "until"),
)
"""Columns of an outcome that describe its model."""


def current(outcomes: pa.Table, champions: pa.Table) -> pa.Table:
    """The outcomes without trained ones that were compared with another model than the live one, or with none.

    Parameters
    ----------
    outcomes
        `SCHEMA`.
    champions
        `CHAMPION` columns of at least the published keys among them.
    """
    if not outcomes.num_rows:
        return outcomes
    at = pc.index_in(outcomes["key"], value_set=champions["key"])
    live = pc.fill_null(tokens(champions).take(at), "")
    same = pc.fill_null(pc.equal(outcomes["against"], live), False)
    return outcomes.filter(pc.or_(same, pc.not_equal(outcomes["status"].cast(pa.string()), TRAINED)))


def decided(settled: pa.Table, settings: PromoteSettings) -> pa.Table:
    """The settled outcomes with their column ``gate``: what becomes of each trained key; null for all others."""
    trained = pc.equal(settled["status"].cast(pa.string()), TRAINED).to_numpy()
    chosen = settled.filter(pa.array(trained))

    def numbers(name: str) -> Any:
        return chosen[name].cast(pa.float64()).to_numpy()

    states = gate.decide(
        pc.equal(chosen["against"], "").to_numpy(),
        np.nan_to_num(numbers("gate_rows")),
        numbers("gate_gain"),
        numbers("gate_p"),
        min_rows=settings.min_rows,
        min_gain=settings.min_gain,
        alpha=settings.alpha,
        paired=settings.test == "paired",
    )
    places = np.zeros(len(trained), np.int32)
    places[trained] = states
    if len(states) != int(trained.sum()):
        raise AccountingError(f"{int(trained.sum())} keys were trained, and the gate has decided on {len(states)}")
    column = pa.DictionaryArray.from_arrays(pa.array(places, mask=~trained), pa.array(gate.STATES))
    return settled.set_column(SCHEMA.get_field_index("gate"), "gate", column)


def replaces(trained: pa.Table, settings: PromoteSettings) -> Any:
    """Which of the trained outcomes become the live model."""
    states = trained["gate"].cast(pa.string())
    kept = pc.equal(states, gate.KEPT)
    if settings.on_undecidable == "keep":
        kept = pc.or_(kept, pc.equal(states, gate.UNDECIDABLE))
    return pc.invert(kept)


def judged_until(kept: pa.Table) -> pa.ChunkedArray:
    """Up to when rows have judged the live models that stay.

    What judged once does not judge again. Rows that were too few to judge do: they wait for more.
    """
    before = pc.utf8_slice_codeunits(kept["against"], _DIGEST + 1)
    before = pc.if_else(pc.equal(before, ""), pa.scalar(None, pa.string()), before)
    until = kept["until"].cast(pa.string())
    return pc.if_else(pc.equal(kept["gate"].cast(pa.string()), gate.KEPT), until, before)


def kept_rows(kept: pa.Table, *, run: str, versions: str) -> pa.Array:
    """The row that each challenger would get, as JSON; ``manyfit promote`` publishes it."""
    columns = {name: kept[name].to_pylist() for name in OF_MODEL}
    times = kept["finished_at"].to_pylist()
    texts = []
    for number, finished in enumerate(times):
        row = {name: values[number] for name, values in columns.items()}
        texts.append(json.dumps({**row, "run": run, "versions": versions, "finished_at": finished}))
    return pa.array(texts, pa.string())


def counts(settled: pa.Table) -> Mapping[str, int]:
    """How many keys each state has; nothing without a gate."""
    found = {each["values"]: each["counts"] for each in pc.value_counts(settled["gate"].cast(pa.string())).to_pylist()}
    return {state: found.get(state, 0) for state in gate.STATES} if found.keys() - {None} else {}
