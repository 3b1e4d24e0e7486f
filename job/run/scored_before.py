"""Remains of earlier scoring runs: parts that can be taken over, and releases that were not finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.arrow import decode, digest_letters, whole
from job.errors import NotFoundError, OutputError
from job.outcome import SCHEMA, SCORED
from job.plan.compare import Fingerprints
from job.plan.plan import Plan
from job.registry import marks
from job.registry.data_file import completed
from job.registry.errors_table import ERRORS, add_errors
from job.registry.index import Index
from job.registry.predictions import Predictions, name_of
from job.run import forgetting
from job.run.planning import unfinished_runs
from job.run.run_files import Started
from job.score import columns, part
from job.store import Store
from job.worker import chunks, segment


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """Parts of runs that did not finish, which this run adopts."""

    outcomes: pa.Table
    """outcomes of the scored keys in these parts, with `SCHEMA`"""
    rows: np.ndarray
    """the rows of ``plan.keys`` that these parts cover"""
    schema: pa.Schema
    """all columns of these parts"""


def adopt(
    output: Store, plan: Plan, started: Started, prints: Fingerprints, there: pa.Schema | None, base: int | None
) -> Adopted:
    """Find the parts of unfinished runs that this run can adopt.

    A part is adopted as a whole or not at all. Each of its keys must be due, and must have been scored with the data
    and the model of the plan. None may be what is published already: data that was put again with equal bytes is due,
    and its rows would be doubled. Nor may the part be in the table, or older than what is published of one of its keys:
    a key that has its data of then again needs new rows after those that it has got since.

    Parameters
    ----------
    output
        The output.
    plan, started, prints
        The plan, the id and the fingerprints of this run.
    there
        The schema of the existing table of predictions: a part with other types is not adopted.
    base
        The version of the predictions that the run is planned on.
    """
    due = plan.due()
    keys = whole(plan.keys["key"]).take(pa.array(due))
    data = digest_letters(whole(plan.keys["data"]).take(pa.array(due)))
    published = whole(plan.keys["content"]).take(pa.array(due))
    taken = np.zeros(len(due), bool)
    known: dict[str, pa.DataType] = {field.name: field.type for field in there or ()}
    accepted, schemas = [], []
    unfinished = _unfinished(output, started) if len(due) else []
    released = _released(output, base) if unfinished else frozenset()
    for run in unfinished:
        found = chunks.winners(chunks.finished(segment.read(output, run_paths.segments(run))), SCORED)
        found = found.filter(pc.equal(found["status"].cast(pa.string()), SCORED))
        found = found.take(pc.sort_indices(found["part"].cast(pa.string())))
        at = pc.index_in(whole(found["key"]), value_set=keys)
        planned = data.take(pc.fill_null(at, 0)) if len(data) else pa.nulls(len(at), pa.string())
        there_already = pc.fill_null(pc.equal(whole(found["content"]), published.take(at)), False)
        fits = (
            pc.and_(
                pc.and_(pc.is_valid(at), pc.fill_null(pc.equal(whole(found["data"]), planned), False)),
                pc.and_(pc.equal(whole(found["recipe"]).cast(pa.string()), prints.recipe), pc.invert(there_already)),
            )
            .to_numpy(zero_copy_only=False)
            .copy()
        )
        if fits.any():
            fits &= ~_scored_since(output, found)
        names = whole(found["part"]).cast(pa.string()).to_pylist()
        places = pc.fill_null(at, -1).to_numpy()
        begin = 0
        while begin < len(names):
            end = begin
            while end < len(names) and names[end] == names[begin]:
                end += 1
            mine = places[begin:end]
            place = part.path(str(found["digest"][begin]))
            if fits[begin:end].all() and not taken[mine].any() and place not in released:
                schema = columns.parsed(str(found["columns"][begin]))
                if columns.fits(schema, known):
                    taken[mine] = True
                    known |= {field.name: field.type for field in schema}
                    accepted.append(found.slice(begin, end - begin))
                    schemas.append(schema)
            begin = end
    return Adopted(
        outcomes=pa.concat_tables(accepted).unify_dictionaries() if accepted else SCHEMA.empty_table(),
        rows=due[taken],
        schema=columns.union(schemas) if schemas else pa.schema([]),
    )


def _released(output: Store, base: int | None) -> frozenset[str]:
    """The paths of the parts of a version."""
    return frozenset() if base is None else frozenset(Predictions(output).files(base))


def _scored_since(output: Store, found: pa.Table) -> np.ndarray:
    """A mask of the outcomes whose key has been scored and published since."""
    keys = whole(found["key"])
    known = Index(output).read(columns=["key", "trained_at"], keys=keys.to_pylist())
    times = whole(known["trained_at"].cast(pa.int64()))
    published = times.take(pc.index_in(keys, value_set=whole(known["key"])))
    own = pc.cast(pc.multiply(whole(found["finished_at"]), 1e6), pa.int64(), safe=False)
    since: np.ndarray = pc.fill_null(pc.less(own, published), False).to_numpy(zero_copy_only=False)
    return since


def _unfinished(output: Store, started: Started) -> list[str]:
    try:
        return unfinished_runs(output, started.at)
    except NotFoundError:  # a folder or bucket that does not exist yet
        return []


def planned_on(output: Store) -> int | None:
    """Make the last release good; returns the version of the predictions that a run may be planned on.

    The version is read first. What another run releases after that ends this run, and what it has released before is
    made good. The other way round, keys of a release between both would be scored again, and their rows doubled.
    """
    version = Predictions(output).version()
    make_good(output)
    return version


def before_rollback(output: Store) -> int | None:
    """Make the last change good before a rollback or a hold; returns the version of the predictions for its ``base``.

    If nothing is left of the change, it stays: the rollback is the way out.
    """
    version = Predictions(output).version()  # first, as in `planned_on`
    try:
        make_good(output)
    except OutputError as error:
        if not isinstance(error.__cause__, NotFoundError):
            raise
    return version


def make_good(output: Store) -> None:
    """Finish the last release, rollback, hold or forgetting of predictions, if it died before it updated the index.

    Raises
    ------
    OutputError
        The files that the run recorded before its release no longer exist.
    """
    newest = Predictions(output).newest()
    if newest is None:
        return
    if newest.operation == "forget":
        forgetting.make_good(output, newest)
    if newest.operation == "hold":
        marks.hold(output, mark=newest.version)
    if newest.operation not in ("release", "rollback"):
        return
    index = Index(output)
    if newest.operation == "rollback":
        about = newest.metadata
        if "index" not in about:
            return  # of another tool, which knows nothing of the index
        marks.follow(output, newest.version, int(about["index"]), hold=about.get("hold") == "True")
        return
    if newest.run is not None and index.released(name_of(newest)) is None:
        derive(output, newest.run, str(newest.metadata["plan"]), newest.metadata, name=name_of(newest))


def derive(output: Store, run: str, plan: str, about: Mapping[str, str], *, name: str) -> tuple[str, ...]:
    """Release the states and the errors of the keys from the files that a run has recorded.

    Parameters
    ----------
    output
        The output.
    run, plan
        The run and its plan.
    about
        Texts that are recorded with the commit.
    name
        The application transaction of the release (`job.registry.predictions.name_of`).

    Returns
    -------
    tuple of str
        The keys that were superseded.
    """
    try:
        rows = decode(output.get(run_paths.released_rows(run, plan)))
        errors = decode(output.get(run_paths.released_errors(run, plan)))
    except NotFoundError as error:
        raise OutputError(
            f"the predictions of {run} are released, and what it wrote down of its keys is gone from {output.uri}",
            hint="Roll back to the version before (`manyfit rollback`), and run again.",
        ) from error
    if errors.num_rows:
        add_errors(output, completed(errors, ERRORS), name)
    said = {name: text for name, text in about.items() if name not in ("operation", "run", "plan", "transaction")}
    # Each commit of the predictions is made on a version that was made good. So releases come here in their order.
    released = Index(output).release(
        rows, run=name, complete=about.get("complete") == "True", metadata={**said, "run": run}, in_order=True
    )
    return released.superseded
