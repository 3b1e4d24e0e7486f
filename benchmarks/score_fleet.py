"""Scoring beside others: CPU seconds and wall time a key, each in a process of its own, on the same models and rows.

    python -m benchmarks.score_fleet --keys 1000 --rounds 3

``floor``: bytes in memory, parse, ``joblib.load``, predict, one parquet file; one process. ``set``: `ModelSet.predict`
on one frame. ``manyfit``: ``manyfit score`` in one process (``inline``). ``spark``: ``applyInPandas`` with
``joblib.load`` from the same folder, ``local[2]``. Figures are of the work: not imports, and not the start of Spark.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NAMES = [f"x{number}" for number in range(5)]
CONTENDERS = ("floor", "set", "manyfit", "spark")


def lay_out(folder: Path, keys: int, rows: int) -> None:
    """Data sets for training and for scoring, and the models."""
    random = np.random.default_rng(1)
    for number in range(keys):
        values = random.normal(size=(rows, 5))
        frame = pd.DataFrame(values.round(6), columns=NAMES)
        frame["y"] = (values @ random.normal(size=5)).round(6)
        for name, part in (("train", frame.head(30)), ("new", frame)):
            (folder / name).mkdir(exist_ok=True)
            part.to_csv(folder / name / f"k{number:06d}.csv", index=False)
    document = {
        "input": {"uri": str(folder / "train")},
        "recipe": {
            "features": NAMES,
            "target": "y",
            "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
        },
        "output": {"uri": str(folder / "models"), "report": "short"},
        "run": {"engine": "inline"},
    }
    _manyfit("run", folder, document)


def _manyfit(command: str, folder: Path, document: dict[str, Any]) -> None:
    from job.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()):
        assert main([command, "--document", json.dumps(document)]) == 0


def floor(folder: Path) -> Callable[[], int]:
    """The least that has to be done."""
    import joblib
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq
    import sklearn.linear_model  # noqa: F401

    found = []
    for data in sorted((folder / "new").iterdir()):
        model = next((folder / "models" / "models" / data.stem).iterdir())
        found.append((data.stem, data.read_bytes(), model.read_bytes()))

    def work() -> int:
        parts = []
        for key, data, model in found:
            table = pc.read_csv(pa.BufferReader(data), read_options=pc.ReadOptions(use_threads=False))
            predicted = joblib.load(io.BytesIO(model)).predict(table.select(NAMES).to_pandas())
            table = table.append_column("prediction", pa.array(predicted))
            parts.append(table.append_column("_key", pa.array([key] * table.num_rows).dictionary_encode()))
        sink = io.BytesIO()
        whole = pa.concat_tables(parts).unify_dictionaries()
        pq.write_table(whole, sink, compression="zstd", use_dictionary=["_key"])
        return whole.num_rows

    return work


def of_set(folder: Path) -> Callable[[], int]:
    """`ModelSet.predict`, of a frame that is there."""
    from job import ModelSet

    frames = [pd.read_csv(path).assign(key=path.stem) for path in sorted((folder / "new").iterdir())]
    frame = pd.concat(frames, ignore_index=True)
    models = ModelSet.open(str(folder / "models"))
    models[frame["key"][0]]
    return lambda: len(models.predict(frame, key="key"))


def of_manyfit(folder: Path) -> Callable[[], int]:
    """``manyfit score``."""
    import job.run.scoring_run  # noqa: F401

    document = {
        "models": {"uri": str(folder / "models")},
        "input": {"uri": str(folder / "new")},
        "output": {"uri": tempfile.mkdtemp(dir=folder)},
        "run": {"engine": "inline"},
    }

    def work() -> int:
        from job.registry.predictions import Predictions
        from job.store import open_store

        _manyfit("score", folder, document)
        files = Predictions(open_store(document["output"]["uri"])).files()
        return sum(each["num_records"] for each in files.values())

    return work


def of_spark(folder: Path) -> Callable[[], int]:
    """``applyInPandas``, each group's model by ``joblib.load``."""
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import input_file_name, regexp_extract

    os.environ["PYSPARK_PYTHON"] = sys.executable
    quiet = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = quiet.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.range(8).repartition(2).groupBy("id").count().collect()
    root = folder / "models" / "models"
    schema = ", ".join(f"{name} double" for name in [*NAMES, "y"])

    def scored(frame: pd.DataFrame) -> pd.DataFrame:
        import joblib

        model = joblib.load(next((root / frame["key"].iloc[0]).iterdir()))
        return frame.assign(prediction=model.predict(frame[NAMES]))

    def work() -> int:
        table = spark.read.csv(str(folder / "new"), schema=schema, header=True)
        table = table.withColumn("key", regexp_extract(input_file_name(), r"(k\d+)\.csv", 1))
        done = table.groupBy("key").applyInPandas(scored, f"{schema}, key string, prediction double")
        out = tempfile.mkdtemp(dir=folder)
        done.write.mode("overwrite").parquet(out)
        return spark.read.parquet(out).count()

    return work


WORK = {"floor": floor, "set": of_set, "manyfit": of_manyfit, "spark": of_spark}


def _cpu() -> float:
    """Of this process and of children that have ended, and what Java and its workers use now."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    import psutil

    seconds = own.ru_utime + own.ru_stime
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = each.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def one(name: str, folder: Path) -> dict[str, float]:
    """One contender, in this process."""
    work = WORK[name](folder)
    cpu, begin = _cpu(), time.perf_counter()
    rows = work()
    return {"rows": rows, "wall": time.perf_counter() - begin, "cpu": _cpu() - cpu}


def rounds(folder: Path, names: list[str], count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Side by side: all of them in each round."""
    for _ in range(count):
        for name in names:
            command = [sys.executable, "-m", "benchmarks.score_fleet", "--one", name, "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr[-2000:]}")
            yield name, json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Lay out, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--one", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.folder)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), given.keys, given.rows)
        found: dict[str, list[dict[str, float]]] = {}
        for name, figures in rounds(Path(folder), given.only, given.rounds):
            assert figures["rows"] == given.keys * given.rows, (name, figures)
            found.setdefault(name, []).append(figures)
    least = {name: min(each["cpu"] for each in figures) for name, figures in found.items()}
    for name, figures in found.items():
        print(
            json.dumps(
                {
                    "contender": name,
                    "keys": given.keys,
                    "rows": given.rows,
                    "cpu_ms_a_key": round(1000 * least[name] / given.keys, 3),
                    "wall_ms_a_key": round(1000 * statistics.median(each["wall"] for each in figures) / given.keys, 3),
                    "times_the_floor": round(least[name] / least.get("floor", least[name]), 2),
                }
            )
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
