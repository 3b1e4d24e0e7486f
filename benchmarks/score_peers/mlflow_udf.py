"""``mlflow.pyfunc.spark_udf`` of a model that sends rows to ``joblib.load`` of their key's file, parquet out.

One registered model for each key would need one udf for each key. So this is a pyfunc that routes, as users write it.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

# MLflow looks for newer versions and reports what is done; neither belongs to the measurement.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}

import mlflow.pyfunc

from benchmarks.peers import session
from benchmarks.score_peers import fleet
from benchmarks.score_peers.apply_in_pandas import read
from benchmarks.workload import Workload


class Routing(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Predicts each row by the model of its key."""

    def __init__(self, root: str, table: bool) -> None:
        self._given = (root, table)

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """See `benchmarks.score_peers.fleet.router`."""
        return fleet.router(*self._given)(model_input)


class Peer:
    """One session and one logged model for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._spark = session.start(work, spark__sql__shuffle__partitions=str(2 * work.cores))
        self._folder = tempfile.TemporaryDirectory()
        path = f"{self._folder.name}/model"
        mlflow.pyfunc.save_model(path, python_model=Routing(str(work.folder), fleet.columns(work)), pip_requirements=[])
        self._udf = mlflow.pyfunc.spark_udf(self._spark, path, result_type="double", env_manager="local")

    def round(self, output: str) -> int:
        """One job."""
        from pyspark.sql.functions import struct

        table = read(self._spark, self._work)
        if fleet.columns(self._work):
            table = table.repartition("key")  # else each batch of rows would load nearly every model
        done = table.withColumn("prediction", self._udf(struct(*fleet.NAMES, "key")))
        done.write.parquet(f"{self._work.folder}/{output}")
        return fleet.stored_rows(f"{self._work.folder}/{output}")

    def close(self) -> None:
        """Stop the session."""
        self._spark.stop()
        self._folder.cleanup()
