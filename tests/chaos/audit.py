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
    commits = sorted(name for name in objects if re.fullmatch(r"index/_delta_log/\d{20}\.json", name))
    found.versions = len(commits) - 1
    for number, name in enumerate(commits):
        if int(name[-25:-5]) != number:
            found.problems.append(f"the log has a hole before {name}")
    transactions: list[str] = []
    files: dict[str, bool] = {}
    for name in commits:
        for line in objects[name].decode().splitlines():
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = True
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
            if "txn" in action:
                transactions.append(action["txn"]["appId"])
    rows = []
    for path in files:
        body = objects.get(f"index/{path}")
        if body is None:
            found.problems.append(f"the table names a file that is not there: {path}")
            continue
        rows += [dict(row) for row in _rows(body)]
    found.rows = rows
    runs = [name for name in transactions if not name.startswith("manyfit/")]
    if len(runs) != len(set(runs)):
        found.problems.append("a run was released twice")
    for row in rows:
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
