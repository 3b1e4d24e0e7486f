"""A scoring that finds nothing changed, at a million keys: seconds, CPU, memory, requests; no model and no row is read.

    python -m benchmarks.score_unchanged [--keys 1000000] [--intervals] [--json FILE]

The set, the predictions and the index are made as releases make them, without a fit and without a prediction. Objects
are listed from a fast server, the outputs are folders. Each run is a process of its own. Modes: append and replace.
Fails if an object of the input or a model is read, or if a key is due.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.driver_scale import counts, listing, reset_peak, step
from benchmarks.listing import BUCKET, PREFIX
from benchmarks.measure import machine
from job.score.generation import MOST_KEYS as KEYS_OF_A_PART
from job.worker.chunks import MOST_KEYS as KEYS_OF_A_CHUNK

ROWS = 400
AIM = 60.0
"""Seconds that a run with nothing changed may take at a million keys."""


def document(endpoint: str, root: str, mode: str) -> dict[str, Any]:
    """The scoring."""
    return {
        "models": {"uri": f"{root}/models"},
        "input": {"uri": f"s3://{BUCKET}/{PREFIX}"},
        "output": {"uri": f"{root}/{mode}", "mode": mode},
        "storage": {"input": {"endpoint": endpoint, "path_style": True}},
        "run": {"engine": "inline"},
    }


def _digests(count: int, seed: int) -> list[str]:
    found = np.random.default_rng(seed).bytes(32 * count).hex()
    return [found[at : at + 64] for at in range(0, len(found), 64)]


def _release(uri: str, run: str, columns: dict[str, Any], count: int) -> None:
    """Publish rows of an index, as a run does."""
    from job.registry.index import Index
    from job.registry.row import REPEATED, ROW
    from job.store import open_store

    arrays = []
    for field in ROW:
        value = columns.get(field.name)
        made = value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value, field.type), count)
        made = made.cast(field.type)
        arrays.append(made.dictionary_encode() if field.name in REPEATED else made)
    rows = pa.table(arrays, names=ROW.names)
    Index(open_store(uri)).release(rows, run=run, complete=True)


def lay_out(endpoint: str, root: str, keys: int, intervals: bool) -> None:
    """Publish a set of models, and the predictions of all keys in both modes."""
    from job.config.score_settings import ScoringSettings
    from job.fit import artifact
    from job.reader.spec import VERSION
    from job.registry.predictions import PartFile, Predictions
    from job.run.pinned_models import PinnedModels
    from job.run.planning import make_plan
    from job.run.score_assembly import assemble_scoring
    from job.score import columns

    now = datetime.now(UTC)
    for name in ("models", "append", "replace"):
        (Path(root) / name).mkdir()
    held = json.dumps({"all": {"90": 1.25, "95": 1.75}}) if intervals else None
    about = {"state": "live", "trained_at": now, "listed_at": now, "reading": VERSION, "environment": ""}
    names = pa.array(sorted(f"c{number % 97:02d}/device-{number:07d}" for number in range(keys)))
    versions = json.dumps(artifact.versions(), sort_keys=True)
    model = {"key": names, "digest": pa.array(_digests(keys, 1)), "size": 640, "rows": ROWS, "run": "training"}
    told = {"data": pa.array(_digests(keys, 2)), "recipe": "a" * 64, "residuals": held, "versions": versions}
    _release(f"{root}/models", "training", {**about, **model, **told}, keys)
    schema = pa.schema([*((name, pa.float64()) for name in ("x1", "y", "prediction")), *columns.OURS])
    for mode, most in (("append", KEYS_OF_A_CHUNK), ("replace", KEYS_OF_A_PART)):
        assembly = assemble_scoring(ScoringSettings.model_validate(document(endpoint, root, mode)))
        pinned = PinnedModels(assembly.models, assembly.scoring.models, assembly.scoring.score, now)
        plan = make_plan(assembly, pa.table({}), mixed=pinned.mixed)
        parts = _digests(-(-keys // most), 3)
        print(f"{mode}: {plan.planned:,} keys, {len(parts):,} files", file=sys.stderr, flush=True)
        from job.arrow import digest_letters, whole

        fingerprints = digest_letters(whole(plan.keys["data"]))
        state = {"key": whole(plan.keys["key"]), "rows": ROWS, "size": 400_000, "run": "first", "recipe": None}
        state |= {"data": fingerprints, "content": fingerprints, "recipe": assembly.fingerprints.recipe}
        state["digest"] = pa.array([parts[at // most] for at in range(keys)])
        files = [
            PartFile(
                digest=digest,
                size=400_000,
                rows=ROWS * most,
                first=names[at * most].as_py(),
                last=names[min(keys, (at + 1) * most) - 1].as_py(),
            )
            for at, digest in enumerate(parts)
        ]
        released = {"complete": "True", "plan": "p", "models_version": str(pinned.version)}
        Predictions(assembly.output).release(files, schema, run="first", plan="p", base=None, metadata=released)
        _release(f"{root}/{mode}", "first", {**about, **state, "versions": versions}, keys)


def one(mode: str, endpoint: str, root: str) -> dict[str, Any]:
    """One run that finds nothing changed, in this process."""
    from job.config.score_settings import ScoringSettings
    from job.run.run import run
    from job.run.score_assembly import assemble_scoring
    from job.run.scoring_run import ScoringRun
    from job.store.folder import FolderStore

    plain = document(endpoint, root, mode)
    assembly = assemble_scoring(ScoringSettings.model_validate(plain))
    read: list[str] = []
    get = FolderStore.get

    def noted(self: FolderStore, name: str, **more: Any) -> Any:
        read.append(name)
        return get(self, name, **more)

    FolderStore.get = noted  # type: ignore[method-assign]
    imports, before = reset_peak(), counts(endpoint)
    begin, cpu = time.perf_counter(), time.process_time()
    done = run(assembly, plain, purpose=ScoringRun(assembly))
    wall, used = time.perf_counter() - begin, time.process_time() - cpu
    after = counts(endpoint)
    return {
        "wall": round(wall, 2),
        "cpu": round(used, 2),
        "peak_mib": reset_peak(),
        "imports_mib": imports,
        "unchanged": done.totals.unchanged,
        "planned": done.totals.planned,
        "models_read": sum(name.startswith("models/") for name in read),
        "requests": {name: after[name] - before.get(name, 0) for name in after},
        "phases": {name: round(seconds, 2) for name, seconds in done.phases.items()},
    }


def measure(keys: int, intervals: bool) -> dict[str, Any]:
    """Both modes, one after the other."""
    results: dict[str, Any] = {}
    options = ["--keys", str(keys), *(["--intervals"] if intervals else [])]
    with tempfile.TemporaryDirectory(prefix="manyfit-unchanged-") as root, listing(keys) as endpoint:
        for name in ("lay-out", "append", "replace"):
            line = step("score_unchanged", "--step", name, endpoint, root, *options)
            if name != "lay-out":
                results[name] = found = json.loads(line)
                print(f"{keys:,} keys, {name}: {found}", file=sys.stderr, flush=True)
                assert found["unchanged"] == found["planned"] == keys, found
                assert not found["models_read"], found
                assert not found["requests"].get("object"), found
    return results


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--intervals", action="store_true", help="the models have residuals for intervals")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        name, endpoint, root = given.step
        if name == "lay-out":
            lay_out(endpoint, root, given.keys, given.intervals)
        else:
            print(json.dumps(one(name, endpoint, root)))
        return 0
    begun = machine()
    result = {"benchmark": "score_unchanged", "keys": given.keys, "intervals": given.intervals, "machine": begun}
    result["runs"] = measure(given.keys, given.intervals)
    text = json.dumps(result, indent=1)
    Path(given.json).write_text(text + "\n") if given.json else print(text)
    return int(any(each["cpu"] > AIM for each in result["runs"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
