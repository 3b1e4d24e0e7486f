"""A run that scores: its plan, what its tasks do, its release (`job.run.purpose`).

The predictions decide what is published: they are released in one commit. The run records the states of its keys and
their errors before that commit, and releases them after it. If it dies in between, the next run releases them from this
record (`scored_before`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.arrow import digest_letters, encode, whole
from job.engine import Borrowed
from job.errors import OtherJobError
from job.fit.traits import as_tuple
from job.outcome import FAILED, SCHEMA, SCORED, SKIPPED, Outcome, coded, to_table
from job.plan.plan import ADOPT, DECIDED, TRAIN, UNCHANGED, Plan
from job.reader.spec import VERSION, ReadSpec
from job.reader.table_scan import as_texts
from job.registry.errors_table import ERRORS
from job.registry.index import Release
from job.registry.predictions import PartFile, Predictions
from job.run import compacting, index_rows, replacing, report, score_types, scored_before
from job.run.assembly import Assembly, check_held
from job.run.pinned_models import MESSAGES, REASONS, PinnedModels
from job.run.planning import make_plan
from job.run.run_files import Started
from job.run.score_assembly import ScoreAssembly
from job.score import columns, generation
from job.score.apply import Recipe
from job.score.bounds import Backtest
from job.score.generation import Held
from job.store import Store
from job.store.side import storage
from job.words import SCORING
from job.worker import chunks
from job.worker.scoring import Scoring


class ScoringRun:
    """Applies the models of one version of a set to each key's rows.

    Parameters
    ----------
    assembly
        The scoring.
    """

    done = SCORED
    wording = SCORING

    def __init__(self, assembly: ScoreAssembly) -> None:
        self._assembly = assembly
        self._predictions = Predictions(assembly.output)
        self._replaces = assembly.scoring.output.mode == "replace"
        self._base: int | None = None
        self._held: list[Held] = []
        self._groups: np.ndarray | None = None
        self._recipe: Recipe | None = None
        self._at = np.zeros(0, np.int32)
        self._pinned: PinnedModels | None = None
        self._adopted = pa.schema([])
        self.samples: list[score_types.Sample] = []
        """keys that were scored to learn the column types"""

    @property
    def models(self) -> Store:
        """The store that models are read from."""
        return self._assembly.models

    @property
    def pinned(self) -> PinnedModels:
        """The models of the pinned version. Only after `plan`."""
        assert self._pinned is not None
        return self._pinned

    @property
    def recipe(self) -> Recipe:
        """What a task does with each key. Only after `plan`."""
        assert self._recipe is not None
        return self._recipe

    def plan(self, assembly: Assembly, started: Started, engine: Borrowed | None) -> tuple[Plan, pa.Table]:
        """Compare data, models and settings with those of the last scoring, and find parts to adopt."""
        score, output = self._assembly.scoring.score, assembly.output
        with storage("output", "the predictions cannot be read"):
            self._base = self._predictions.version() if engine is None else scored_before.planned_on(output)
            if engine is not None:
                check_held(assembly, self.done)  # by a rollback that died before the index had followed
            if self._replaces:
                self._held = self._ranges(started, engine)
            elif self._base is not None and self._predictions.replaces(self._base):
                raise OtherJobError(
                    f"{output.uri} holds one generation of each key, and output.mode is append: nothing was scored",
                    hint="Set output.mode: replace, or give this scoring an output of its own.",
                )
            there = None if self._base is None else self._predictions.schema(self._base)
        self._pinned = pinned = PinnedModels(self.models, self._assembly.scoring.models, score, started.at)
        keys = None if self._assembly.scoring.has_rows else pinned.keys
        given = replace(assembly, spec=self._spec())
        made = make_plan(given, SCHEMA.empty_table(), engine, mixed=pinned.mixed, keys=keys)
        if score.again:
            made = _again(made)
        chosen = pinned.choose(whole(made.keys["key"]))
        self._at = chosen.at
        pinned.warn_of_strangers(whole(made.keys["key"]), chosen)
        with storage("output", "unfinished runs could not be read"):
            adopted = scored_before.adopt(output, made, started, assembly.fingerprints, there, self._base)
        self._adopted = adopted.schema
        bare = np.zeros(made.planned, bool)
        bare[made.due()] = True
        bare &= chosen.reason > 0
        made = _with(_with(made, adopted.rows, action=ADOPT, why="finished"), np.flatnonzero(bare), action=DECIDED)
        decided = self._decided(made, np.flatnonzero(bare), chosen.reason)
        known = columns.union([each for each in (there, adopted.schema) if each]) if there or adopted.schema else None
        self._recipe = recipe = self._made_recipe(started)
        with storage("input", "the input cannot be read"):
            self.samples = score_types.samples(self._assembly, made, self._at, pinned, recipe)
        score_types.refuse_unknown(self.samples, recipe.keep, recipe.actual, known)
        hive = assembly.settings.input.layout == "hive" and made.planned > 0
        levels = score_types.of_levels(whole(made.keys["key"])) if hive else None
        function = recipe.function is not None
        types = score_types.settled(self.samples, recipe.keep, known, function=function, levels=levels)
        texts = tuple(name for name, kind in (types or {}).items() if kind == pa.string())
        spec = replace(recipe.spec, beside=() if recipe.function else texts)
        if made.table is not None:
            made = replace(made, table=replace(made.table, scan=as_texts(made.table.scan, spec.beside)))
        self._recipe = replace(recipe, spec=spec, types=None if types is None else tuple(types.items()))
        kind = coded(SCHEMA)
        return made, pa.concat_tables([adopted.outcomes.cast(kind), decided.cast(kind)]).unify_dictionaries()

    def _spec(self) -> ReadSpec:
        """How bytes become values. A single column that models take as texts is not read as numbers."""
        spec, features = self._assembly.spec, self.pinned.recipe().get("features")
        return replace(spec, texts=tuple(dict.fromkeys((*spec.texts, features)))) if isinstance(features, str) else spec

    def _ranges(self, started: Started, engine: Borrowed | None) -> list[Held]:
        """The parts of the version that the run is planned on. What earlier runs have appended is compacted first."""
        if self._base is None:
            return []
        held = self._predictions.held(self._base)
        if held is None and engine is not None:
            output, keep = self._assembly.output, self._assembly.settings.input.on_gone == "keep"
            only = None if keep else set(self._assembly.index.read(columns=["key"])["key"].to_pylist())
            self._base = compacting.compact(output, self._base, started.plan, only=only)
            held = self._predictions.held(self._base)
        return held or []  # a plan alone needs none, and changes nothing

    def _made_recipe(self, started: Started) -> Recipe:
        settings, trained = self._assembly.scoring, self.pinned.recipe()
        features, target = trained.get("features"), trained.get("target")
        series = isinstance(features, str)
        others = (*as_tuple(target), *as_tuple(trained.get("sample_weight")), *as_tuple(settings.score.actual))
        keep = settings.score.keep
        return Recipe(
            spec=self._spec(),
            method=settings.score.method,
            features=None if features is None else as_tuple(features),
            series=series,
            others=others,
            outputs=as_tuple(target) if len(as_tuple(target)) > 1 else (),
            keep=None if keep is None else tuple(keep),
            types=None,
            missing=settings.score.missing,
            actual=settings.score.actual,
            on_empty=settings.input.on_empty,
            allow_version_skew=settings.models.allow_version_skew,
            run=started.id,
            at=started.at,
            version=self.pinned.version,
            backtest=_backtest(trained),
            function=self._assembly.function,
            rows=settings.has_rows,
        )

    def _decided(self, plan: Plan, rows: np.ndarray, reason: np.ndarray) -> pa.Table:
        """The outcomes of the keys that have no model that may be used."""
        found = plan.keys.select(["key", "data", "bytes"]).take(pa.array(rows))
        data = digest_letters(whole(found["data"])).to_pylist()
        policy = self._assembly.scoring.score.missing_model.policy
        told = [REASONS[each] for each in reason[rows].tolist()]
        prints = self._assembly.fingerprints
        return to_table(
            Outcome(
                key=key,
                status=SKIPPED if policy != "fail" or why == "model_stale" else FAILED,
                reason=why,
                message=MESSAGES[why],
                data=fingerprint,
                recipe=prints.recipe,
                environment=prints.environment,
                reading=VERSION,
                bytes=size,
            )
            for key, fingerprint, size, why in zip(
                found["key"].to_pylist(), data, found["bytes"].to_pylist(), told, strict=True
            )
        )

    def beside(self, plan: Plan, task: int, rows: np.ndarray) -> dict[str, list[str]]:
        """The chunk of each key, and a description of its model."""
        sizes = plan.keys["bytes"].take(pa.array(rows)).to_pylist()
        # Spark delivers keys in its own order, and some may be missing: then each key is a chunk of its own.
        numbers = chunks.cut(sizes, chunks.MOST_KEYS if plan.read is None else 1)
        if self._groups is not None and plan.read is None:
            numbers = self._groups[rows].tolist()
        count = Counter(numbers)
        name = self._started_plan
        return {
            "chunk": [chunks.name(name, task, each, count[each]) for each in numbers],
            "model": self.pinned.described(self._at[rows], whole(plan.keys["key"]).take(pa.array(rows))),
        }

    _started_plan = ""

    def together(self, plan: Plan) -> np.ndarray | None:
        """A group for the neighbouring keys of one part, whose rows are replaced together; None in other modes."""
        if not self._replaces:
            return None
        due = plan.due()
        chosen = plan.keys.select(["key", "bytes"]).take(pa.array(due))
        firsts = [each.first for each in self._held]
        found = generation.together(chosen["key"].to_pylist(), chosen["bytes"].to_pylist(), firsts)
        self._groups = np.full(plan.planned, -1, np.int32)
        self._groups[due] = found
        return found

    def champions(self, keys: pa.Array) -> None:
        """None: no model is replaced."""

    def decided(self, assembly: Assembly, settled: pa.Table) -> pa.Table:
        """The outcomes, unchanged."""
        return settled

    def operation(self, assembly: Assembly, started: Started) -> Scoring:
        """The operation of a task: to predict."""
        self._started_plan = started.plan
        return Scoring(what=self.recipe, fingerprint=assembly.fingerprints.recipe)

    def counted(self, started: Started, outcomes: pa.Table) -> pa.Table:
        """The outcomes of this driver's plan. For each chunk, all of them come from one complete attempt."""
        mine = pc.fill_null(pc.starts_with(outcomes["chunk"].cast(pa.string()), f"{started.plan}/"), False)
        return chunks.winners(chunks.finished(outcomes.filter(mine)), SCORED)

    def publish(
        self, assembly: Assembly, started: Started, plan: Plan, settled: pa.Table, count: report.Totals
    ) -> Release:
        """Publish the predictions in one commit, then the state and the errors of each key."""
        output = assembly.output
        rows = index_rows.changed(assembly, started, plan, settled, done=SCORED)
        if not rows.num_rows:
            return Release(version=self._predictions.version() or None)
        output.ensure(run_paths.released_rows(started.id, started.plan), encode(rows))
        output.ensure(run_paths.released_errors(started.id, started.plan), encode(_errors(settled, started)))
        names = ("planned", "scored", "unchanged", "skipped", "failed", "rows_read", "rows_written")
        about = {name: str(getattr(count, name)) for name in names}
        about |= {"models_version": str(self.pinned.version), "complete": str(plan.complete)}
        scored = settled.filter(pc.equal(settled["status"], SCORED)).select(
            ["key", "digest", "size", "rows", "columns"]
        )
        scored = scored.set_column(4, "columns", scored["columns"].cast(pa.string()))
        parts, schema, removed = self._parts(plan, scored)
        # Also without any part: the commit fails if another run has released. Else the states of this run could refuse
        # those of that run, which belong to its predictions.
        released = self._predictions.release(
            parts,
            schema,
            run=started.id,
            plan=started.plan,
            base=self._base,
            metadata=about,
            inserted=count.rows_written,
            removed=removed,
            replaces=self._replaces,
        )
        superseded = scored_before.derive(output, started.id, released.plan or started.plan, about, name=released.name)
        changes = len(parts) + len(removed)
        return Release(version=released.version, applied=changes, superseded=superseded, already=released.already)

    def _parts(self, plan: Plan, scored: pa.Table) -> tuple[Sequence[PartFile], pa.Schema, Sequence[Held]]:
        """The parts that the release adds, all their columns, and the parts that it removes."""
        output = self._assembly.output
        if self._replaces:
            retires = self._assembly.settings.input.on_gone == "retire"
            replaced = replacing.replace(output, self._held, scored, plan.gone.to_pylist() if retires else [])
            output.sync()  # a release names only files that would survive a power cut
            return replaced.added, replaced.schema, replaced.removed
        found = scored.group_by(["digest", "columns"]).aggregate([("size", "max"), ("rows", "sum")])
        parts = [
            PartFile(digest=row["digest"], size=row["size_max"], rows=row["rows_sum"])
            for row in found.sort_by("digest").to_pylist()
        ]
        return parts, columns.union(columns.parsed(text) for text in sorted(set(found["columns"].to_pylist()))), ()


def _backtest(trained: Mapping[str, Any]) -> Backtest | None:
    """The backtest of a recipe, which says how steps are counted; None if the recipe has none."""
    validation = trained.get("validation")
    if not isinstance(validation, Mapping) or validation.get("method") != "backtest":
        return None
    return Backtest(column=str(validation["column"]), by_time=isinstance(validation.get("horizon"), str))


def _again(plan: Plan) -> Plan:
    """The same plan, with all unchanged keys due, so that they are scored again."""
    unchanged = np.flatnonzero(pc.equal(plan.keys["action"], UNCHANGED).to_numpy())
    made = _with(plan, unchanged, action=TRAIN)
    at = made.keys.schema.get_field_index("content")
    return replace(made, keys=made.keys.set_column(at, "content", pa.nulls(made.planned, pa.string())))


def _with(plan: Plan, rows: np.ndarray, **texts: str) -> Plan:
    """The same plan, with these texts in the columns of these rows. The columns hold few texts, as dictionaries."""
    keys = plan.keys
    for name, text in texts.items() if len(rows) else ():
        column = whole(keys[name])
        known = column.dictionary.to_pylist()
        known += [] if text in known else [text]
        codes = column.indices.to_numpy().copy()
        codes[rows] = known.index(text)
        changed = pa.DictionaryArray.from_arrays(codes, known)
        keys = keys.set_column(keys.schema.get_field_index(name), name, changed)
    return replace(plan, keys=keys)


def _errors(settled: pa.Table, started: Started) -> pa.Table:
    """Rows for the table of errors (`ERRORS`), one for each key whose rows held the truth."""
    scored = settled.filter(pc.and_(pc.equal(settled["status"], SCORED), pc.is_valid(settled["metrics"])))
    rows = []
    for row in scored.select(["key", "metrics", "residuals"]).to_pylist():
        held = json.dumps(json.loads(row["residuals"])["held"]) if row["residuals"] else None
        about = {"key": row["key"], "run": started.id, "scored_at": started.at, "within": held}
        rows.append({**about, **json.loads(row["metrics"])})
    return pa.Table.from_pylist(rows, schema=ERRORS)
