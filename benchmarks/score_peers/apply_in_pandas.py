"""Spark: ``groupBy().applyInPandas`` with ``joblib.load`` of each group's model, parquet out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.peers import session
from benchmarks.score_peers import fleet
from benchmarks.workload import Workload


def read(spark: Any, work: Workload) -> Any:
    """The rows as a Spark frame with a column ``key``."""
    from pyspark.sql.functions import regexp_extract

    schema = ", ".join(f"{name} double" for name in [*fleet.NAMES, "y"])
    if fleet.columns(work):
        schema += ", key string"
    reader = spark.read.schema(schema)
    files = f"{work.folder}/{fleet.NEW}"
    table = reader.parquet(files) if work.format == "parquet" else reader.option("header", True).csv(files)
    if fleet.columns(work):
        return table
    return table.select("*", regexp_extract("_metadata.file_name", r"(k\d+)\.", 1).alias("key"))


class Peer:
    """One session for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._spark = session.start(work, spark__sql__shuffle__partitions=str(2 * work.cores))

    def round(self, output: str) -> int:
        """One job."""
        work = self._work

        def scored(frame: pd.DataFrame) -> pd.DataFrame:
            model = fleet.model_of(work, frame["key"].iloc[0])
            return frame.assign(prediction=model.predict(frame[fleet.NAMES]))

        schema = ", ".join(f"{name} double" for name in [*fleet.NAMES, "y"])
        done = read(self._spark, work).groupBy("key").applyInPandas(scored, f"{schema}, key string, prediction double")
        done.write.parquet(f"{work.folder}/{output}")
        return fleet.stored_rows(f"{work.folder}/{output}")

    def close(self) -> None:
        """Stop the session."""
        self._spark.stop()
