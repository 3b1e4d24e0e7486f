"""Which of a run's new models replace the live ones: the gate of `job.judge.gate`, decided over all keys at once. Pure.

Executors have compared each new model with the live model of its key. Each outcome names that live model
(`job.outcome.champion_token`) and counts only while it is live; else the key is trained and compared again.
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
"""number of hexadecimal digits of a SHA-256"""
OF_MODEL = (
    *("digest", "size", "rows", "metrics", "warnings", "seconds"),
    *("estimator", "skill", "windows", "horizons", "residuals", "until"),
)
"""Columns of an outcome that describe its model."""


def current(outcomes: pa.Table, champions: pa.Table) -> pa.Table:
    """The outcomes, without trained ones that were compared with a model that is not the live one, or with no model.

    Parameters
    ----------
    outcomes
        With `SCHEMA`.
    champions
        The live models, with the columns `CHAMPION`; at least those of all published keys among the outcomes.
    """
    if not outcomes.num_rows:
        return outcomes
    at = pc.index_in(outcomes["key"], value_set=champions["key"])
    live = pc.fill_null(tokens(champions).take(at), "")
    same = pc.fill_null(pc.equal(outcomes["against"], live), False)
    return outcomes.filter(pc.or_(same, pc.not_equal(outcomes["status"].cast(pa.string()), TRAINED)))


def decided(settled: pa.Table, settings: PromoteSettings) -> pa.Table:
    """Fill the column ``gate`` of the settled outcomes: the state of each trained key (`job.judge.gate`), else null."""
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
    """A mask of the trained outcomes whose model becomes the live model."""
    states = trained["gate"].cast(pa.string())
    kept = pc.equal(states, gate.KEPT)
    if settings.on_undecidable == "keep":
        kept = pc.or_(kept, pc.equal(states, gate.UNDECIDABLE))
    return pc.invert(kept)


def judged_until(kept: pa.Table) -> pa.ChunkedArray:
    """For each live model that stays, the time of the last row that has been used to judge it.

    Rows are used for one comparison only. If they were too few to decide, the time does not advance: the same rows
    count again when more have come.
    """
    before = pc.utf8_slice_codeunits(kept["against"], _DIGEST + 1)
    before = pc.if_else(pc.equal(before, ""), pa.scalar(None, pa.string()), before)
    until = kept["until"].cast(pa.string())
    return pc.if_else(pc.equal(kept["gate"].cast(pa.string()), gate.KEPT), until, before)


def kept_rows(kept: pa.Table, *, run: str, versions: str) -> pa.Array:
    """For each challenger, as JSON, the published row that it would get; ``manyfit promote`` publishes this row."""
    columns = {name: kept[name].to_pylist() for name in OF_MODEL}
    times = kept["finished_at"].to_pylist()
    texts = []
    for number, finished in enumerate(times):
        row = {name: values[number] for name, values in columns.items()}
        texts.append(json.dumps({**row, "run": run, "versions": versions, "finished_at": finished}))
    return pa.array(texts, pa.string())


def counts(settled: pa.Table) -> Mapping[str, int]:
    """Number of keys for each state of the gate; empty without a gate."""
    found = {each["values"]: each["counts"] for each in pc.value_counts(settled["gate"].cast(pa.string())).to_pylist()}
    return {state: found.get(state, 0) for state in gate.STATES} if found.keys() - {None} else {}
