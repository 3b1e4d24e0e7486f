"""An auditor that shares no code with the job: lists the store, reads the table's own log, re-hashes every model."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import pyarrow.parquet as pq

_UNSAFE = re.compile(r"[^A-Za-z0-9 ._=,+@()-]")


@dataclass
class Audit:
    """What is wrong; nothing is, if ``problems`` is empty."""

    versions: int = -1
    live: dict[str, str] = field(default_factory=dict)
    """key to digest"""
    states: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """of the current version"""
    slopes: dict[str, float] = field(default_factory=dict)
    """key to the slope that its model has; only where ``slopes`` were asked for"""
    orphans: int = 0
    """models that the current version does not name: allowed, gc's work"""
    problems: list[str] = field(default_factory=list)


def audit(objects: Mapping[str, bytes], slopes: Mapping[str, float] | None = None) -> Audit:
    """Check the bytes of an output.

    Parameters
    ----------
    objects
        Every object below the output, by name.
    slopes
        For each key the slope that its model must have; a key that must have a model and has none is a loss.
    """
    found = Audit()
    log = commits(objects, "index")
    found.versions, found.problems = len(log) - 1, of_log(log)
    found.rows = audit_rows(objects, "index", found.problems)
    for row in found.rows:
        key, digest = row["key"], row["digest"]
        if key in found.states:
            found.problems.append(f"the key {key!r} is doubled")
        found.states[key] = row["state"]
        if digest is None:
            continue
        found.live[key] = digest
        body = objects.get(f"models/{_folder(key)}/{digest}.joblib")
        if body is None:
            found.problems.append(f"the model of {key!r} is lost")
            continue
        if hashlib.sha256(body).hexdigest() != digest:
            found.problems.append(f"the model of {key!r} is torn")
            continue
        if slopes is None:
            continue
        slope = found.slopes[key] = _slope(body)
        if key in slopes and row["state"] == "live" and abs(slope - slopes[key]) > 1e-6 * max(1, abs(slopes[key])):
            found.problems.append(f"the model of {key!r} is wrong: {slope} instead of {slopes[key]}")
    for key in slopes or {}:
        if key not in found.live:
            found.problems.append(f"the key {key!r} has no model")
    for name, body in objects.items():
        match = re.fullmatch(r"models/.*/([0-9a-f]{64})\.joblib", name)
        if match and hashlib.sha256(body).hexdigest() != match[1]:
            found.problems.append(f"{name} has other bytes than its name says")
        if match and match[1] not in found.live.values():
            found.orphans += 1
    return found


def audit_rows(objects: Mapping[str, bytes], table: str, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of the current version of a table; files that are missing are added to ``problems``."""
    files: dict[str, bool] = {}
    for commit in commits(objects, table):
        files = {path: True for path in files if path not in commit.removed} | dict.fromkeys(commit.added, True)
    rows = []
    for path in files:
        body = objects.get(f"{table}/{path}")
        if body is not None:
            rows += [dict(row) for row in _rows(body)]
        elif problems is not None:
            problems.append(f"the table names a file that is not there: {path}")
    return rows


@dataclass(frozen=True)
class Commit:
    """One commit of a Delta table, as its log has it."""

    number: int
    added: dict[str, dict[str, Any]]
    """the actions, by the path of the file"""
    removed: frozenset[str]
    transactions: dict[str, int]
    about: dict[str, Any]
    """its commitInfo"""

    @property
    def runs(self) -> list[str]:
        """Ids of the runs that it releases."""
        return [name for name in self.transactions if not name.startswith("manyfit/")]


def commits(objects: Mapping[str, bytes], table: str) -> list[Commit]:
    """The log of a table below an output, oldest first."""
    pattern = re.compile(rf"{table}/_delta_log/(\d{{20}})\.json")
    return [_commit(int(match[1]), objects[match[0]]) for match in map(pattern.fullmatch, sorted(objects)) if match]


@functools.lru_cache(1024)
def _commit(number: int, body: bytes) -> Commit:
    actions: dict[str, list[dict[str, Any]]] = {"add": [], "remove": [], "txn": [], "commitInfo": []}
    for line in body.decode().splitlines():
        for kind, action in json.loads(line).items():
            actions.setdefault(kind, []).append(action)
    return Commit(
        number=number,
        added={each["path"]: each for each in actions["add"]},
        removed=frozenset(each["path"] for each in actions["remove"]),
        transactions={each["appId"]: each["version"] for each in actions["txn"]},
        about=actions["commitInfo"][0] if actions["commitInfo"] else {},
    )


def of_log(log: list[Commit]) -> list[str]:
    """What is wrong with a log by itself."""
    found = [f"the log has a hole before {each.number}" for at, each in enumerate(log) if each.number != at]
    runs = [run for each in log for run in each.runs]
    return found + (["a run was released twice"] if len(runs) != len(set(runs)) else [])


# Equal bytes say the same, and thousands of audits meet the same ones: that they are the bytes of a name is looked at anew
# each time, what they say only once.
@functools.lru_cache(4096)
def _slope(model: bytes) -> float:
    return float(joblib.load(io.BytesIO(model)).coef_[0])


@functools.lru_cache(256)
def _rows(file: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(file)).to_pylist()
    return rows


def folder_objects(folder: Path, *parts: str) -> dict[str, bytes]:
    """Every object below some folders of an output that is a folder itself."""
    return {
        f"{place}/{name}".removeprefix(f"{folder}/"): Path(place, name).read_bytes()
        for part in parts
        for place, _, names in os.walk(folder / part)
        for name in names
        if not name.startswith(".")
    }


def _folder(key: str) -> str:
    """The folder of a key's models, after docs/explanation/reliability.md."""
    parts = []
    for part in key.split("/"):
        raw = part.encode("utf-8", "surrogatepass")
        odd = not part or part.startswith((".", "~", " ")) or part.endswith((" ", ".")) or len(raw) > 200
        parts.append("~" + hashlib.sha256(raw).hexdigest() if odd or _UNSAFE.search(part) else part)
    return "/".join(parts)
