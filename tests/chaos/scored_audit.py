"""An auditor of predictions that shares no code with the job: replays the tables' logs and reads every row of every part.

The rows of a data set of these schedules tell of which data they are (`data_set`), and a prediction tells by which model
it was made. So each key's rows fall into generations: one data set, predicted by one model.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq

from tests.chaos.audit import Commit, commits, of_log


def data_set(value: int) -> list[float]:
    """The feature of the rows of the data set that is told by this number."""
    return [value + number / 8 for number in range(3 + value % 3)]


@dataclass(frozen=True)
class Generation:
    """The rows of one key in one part."""

    key: str
    value: int | None
    """which data set they are; None if they are none, or not all of it"""
    model: str
    version: int
    """of the models"""
    about: tuple[str, str, str]
    """the object, the run and the time in the rows"""
    slope: float | None
    """by which all predictions come from the feature; None if there is none"""
    rows: int

    @property
    def made_of(self) -> tuple[int | None, str]:
        """Data and model."""
        return self.value, self.model


State = dict[str, list[Generation]]
"""The parts of a version in the order in which they were added."""


@dataclass
class ScoredAudit:
    """Looks at each version of the predictions once, in the moment in which it appears.

    Parameters
    ----------
    model
        The digest and the slope of the model of a key in a version of the models.
    """

    model: Callable[[int, str], tuple[str, float] | None]
    replaces: bool
    """whether each key has one generation; an output to which runs have appended says when it begins"""
    retires: bool = False
    """whether keys may go"""
    begun: bool = field(init=False)
    """whether it is so from the beginning"""
    states: dict[int, State] = field(default_factory=dict)
    scored: dict[str, dict[str, int]] = field(default_factory=dict)
    """by run that was released: its keys and the number of their rows"""
    rows: int = 0
    """predictions that were compared"""

    def __post_init__(self) -> None:
        self.begun = self.replaces

    def look(self, objects: Mapping[str, bytes]) -> list[str]:
        """What is wrong with the versions that have appeared.

        Parameters
        ----------
        objects
            Every object of the output's tables, by name.
        """
        log = commits(objects, "predictions")
        found = of_log(log)
        for commit in log:
            if commit.number not in self.states:
                problems = self._of_version(commit, objects)
                found += [f"version {commit.number}: {problem}" for problem in problems]
        for path in self.newest:
            if (body := objects.get(f"predictions/{path}")) is None:
                found.append(f"{path} is lost")
            elif path != f"parts/{(name := hashlib.sha256(body).hexdigest())[:2]}/{name}.parquet":
                found.append(f"{path} is torn")
        return found

    @property
    def newest(self) -> State:
        """The current version."""
        return self.states[max(self.states)] if self.states else {}

    def generations(self) -> dict[str, list[Generation]]:
        """Those of each key in the current version, oldest first."""
        return _by_key(self.newest)

    def _of_version(self, commit: Commit, objects: Mapping[str, bytes]) -> list[str]:
        before = self.states.get(commit.number - 1, {})
        compacted = commit.about.get("manyfit.operation") == "compact"  # adds a part again to say where its keys lie
        found = [f"{path} is in the table already" for path in commit.added if path in before and not compacted]
        state: State = {path: parts for path, parts in before.items() if path not in commit.removed}
        for path in commit.added:
            body = objects.get(f"predictions/{path}")
            state[path] = [] if body is None else _generations(body)
        self.states[commit.number] = state
        self.replaces = self.replaces or "manyfit/replaces" in commit.transactions
        restored = commit.about.get("manyfit.restored")
        if restored is not None:
            older = self.states[int(restored)]
            if state.keys() != older.keys():
                found.append(f"a rollback to {restored} has other parts")
            self.states[commit.number] = state = dict(older)
        for path in commit.added:
            for each in state.get(path, []):
                found += self._of_generation(each)
        keys = _by_key(state)
        for key, generations in keys.items():
            same = [one.made_of for one, other in pairwise(generations) if one.made_of == other.made_of]
            found += [f"{key} is doubled: {each} twice in succession" for each in same]
        if compacted and self.begun:
            found.append("all is compacted, and nobody has appended")
        if restored is None:
            found += self._kept(commit, before, state)
        if restored is None and commit.runs:
            found += self._of_release(commit, _by_key(before), keys)
        return found

    def _kept(self, commit: Commit, before: State, state: State) -> list[str]:
        """Old generations stay, or leave for a newer one of their key."""
        old, new = _by_key(before), _by_key(state)
        lost = [] if self.retires else [f"{key} is lost" for key in old.keys() - new.keys()]
        if not self.replaces:
            return lost + [f"the old part {path} is gone" for path in before.keys() - state.keys()]
        if commit.about.get("manyfit.operation") == "compact":
            stays = {key: mine[-1:] for key, mine in old.items() if key in new or not self.retires}
            lost += [f"{key} has not its newest generation" for key, mine in stays.items() if new.get(key) != mine]
            lost += [f"{key} comes from nowhere" for key in new.keys() - old.keys()]
        lost += [f"{key} has {len(mine)} generations" for key, mine in new.items() if len(mine) > 1]
        for path, action in commit.added.items():
            keys = sorted(each.key for each in state[path])
            stats = json.loads(action["stats"])
            said = stats.get("minValues", {}).get("_key"), stats.get("maxValues", {}).get("_key")
            if said != (keys[0], keys[-1]):
                lost.append(f"{path} holds {keys}, and says {said}")
        spans = sorted((min(each.key for each in mine), max(each.key for each in mine)) for mine in state.values())
        return lost + [f"{one} and {other} overlap" for one, other in pairwise(spans) if one[1] >= other[0]]

    def _of_generation(self, each: Generation) -> list[str]:
        self.rows += each.rows
        if each.value is None:
            return [f"rows of {each.key} are lost, doubled or mixed"]
        known = self.model(each.version, each.key)
        if known is None or known[0] != each.model:
            return [f"{each.key} names the model {each.model[:8]}, which is not that of version {each.version}"]
        if each.slope is None or abs(each.slope - known[1]) > 1e-6 * known[1]:
            return [f"{each.key} was predicted by another model than that of version {each.version}"]
        return []

    def _of_release(
        self, commit: Commit, before: dict[str, list[Generation]], now: dict[str, list[Generation]]
    ) -> list[str]:
        """What a release has brought is what it says."""
        new = {key: [each for each in mine if each not in before.get(key, [])] for key, mine in now.items()}
        scored = {key: sum(each.rows for each in mine) for key, mine in new.items() if mine}
        (run,) = commit.runs
        self.scored[run] = scored
        said = int(commit.about.get("operationMetrics", {}).get("num_target_rows_inserted", -1))
        if said != sum(scored.values()):
            return [f"{run} says that it has brought {said} rows, and has brought {sum(scored.values())}"]
        return []


def _by_key(state: State) -> dict[str, list[Generation]]:
    found: dict[str, list[Generation]] = {}
    for parts in state.values():
        for each in parts:
            found.setdefault(each.key, []).append(each)
    return found


@functools.lru_cache(2048)
def _generations(part: bytes) -> list[Generation]:
    rows: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in pq.read_table(io.BytesIO(part), use_threads=False).to_pylist():
        about = (row["_input"], row["_run"], str(row["_scored_at"]))
        place = (row["_key"], row["_model"], row["_models_version"], about)
        rows.setdefault(place, []).append((row["x"], row["prediction"]))
    found = []
    for (key, model, version, about), mine in rows.items():
        xs = sorted(x for x, _ in mine)
        whole = xs == data_set(int(xs[0]))
        slope = mine[0][1] / mine[0][0]
        right = all(abs(prediction - slope * x) <= 1e-6 * abs(prediction) for x, prediction in mine)
        found.append(
            Generation(
                key=key,
                value=int(xs[0]) if whole else None,
                model=model,
                version=version,
                about=about,
                slope=slope if right else None,
                rows=len(mine),
            )
        )
    return found
