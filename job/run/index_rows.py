"""The rows of the index that a run changes: its settled outcomes, except failures and skips that it has already."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import whole
from job.config.settings import PromoteSettings
from job.outcome import TRAINED
from job.plan.plan import Plan
from job.registry.index import FAILED, STALE
from job.run import release_rows
from job.run.assembly import Assembly
from job.run.run_files import Started


def changed(
    assembly: Assembly,
    started: Started,
    plan: Plan,
    settled: pa.Table,
    *,
    promote: PromoteSettings | None = None,
    done: str = TRAINED,
) -> pa.Table:
    """The rows of a release (`job.run.release_rows.of`), by what the index knows of keys without success."""
    # Keys that are gone and marked so already make no row: else each night would make a version of predictions.
    plan = replace(plan, gone=_unmarked(assembly, plan.gone))
    nothing = pc.is_in(settled["status"].cast(pa.string()), value_set=pa.array(["failed", "skipped"]))
    keys = settled.filter(nothing)["key"].to_pylist()
    known = assembly.index.read(columns=["key", "state", "reason", "message"], keys=keys)
    return release_rows.of(
        plan,
        settled,
        run=started.id,
        versions=json.dumps(assembly.versions, sort_keys=True),
        retire_gone=assembly.settings.input.on_gone == "retire",
        known=known.filter(pc.is_in(known["state"], value_set=pa.array([FAILED, STALE]))),
        promote=promote,
        done=done,
    )


def _unmarked(assembly: Assembly, gone: pa.Array) -> pa.Array:
    """Those of the keys that the input no longer has and that are to be marked, or taken out of the index."""
    if not len(gone) or assembly.settings.input.on_gone == "retire":
        return gone
    known = assembly.index.read(columns=["key", "gone_since"], keys=gone.to_pylist())
    marked = known.filter(pc.is_valid(known["gone_since"]))["key"]
    return gone.filter(pc.invert(pc.is_in(gone, value_set=whole(marked))))
