"""A published set in MLflow's registry: a real server on loopback with a database, and its own ways of loading."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from job.cli.main import main
from job.errors import DamageError
from job.registry.index import Index
from job.store import open_store
from tests.support.folder_job import Job, line

pytestmark = pytest.mark.mlflow

NAME = "fleet"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server, with sqlite and a folder for artifacts."""
    import mlflow.pyfunc  # noqa: F401 - before the tests: what it imports changes the environment
    import polars  # noqa: F401

    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "--workers", "1"], stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
    yield address
    process.terminate()
    process.wait(30)


@pytest.fixture
def tracked(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(server)
    return server


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    for store in (1, 2, 3):
        made.put(f"store={store}/rows.csv.gz", line(float(store)))
    made.overrides = {"input": {"layout": "hive"}}
    made.run()
    return made


def frame() -> pd.DataFrame:
    return pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "store": ["3", "1", "2", "3"], "more": list("abcd")})


def expected(job: Job) -> list[float]:
    models = job.models()
    rows = frame()
    return [models[f"store={store}"].predict(rows.loc[[at], ["x"]])[0] for at, store in rows["store"].items()]


def requests_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[tuple[str, str, int]]:
    """The requests that a command makes to the server: method, path, bytes of the body."""
    import requests

    made: list[tuple[str, str, int]] = []
    send = requests.Session.send

    def counted(self: Any, request: Any, **options: Any) -> Any:
        body = request.body
        size = len(body) if isinstance(body, bytes | str) else int(request.headers.get("Content-Length") or 0)
        if request.url.startswith(os.environ["MLFLOW_TRACKING_URI"]):
            made.append((request.method, request.path_url.partition("?")[0], size))
        return send(self, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "send", counted)
        assert main(["mlflow", *arguments]) == 0
    return made


def test_an_entry_is_small_loads_nothing_and_predicts_as_the_models_do(
    tracked: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    for path in (job.out / "models").rglob("*.joblib"):
        path.rename(path.with_suffix(".away"))
    made = requests_of(monkeypatch, str(job.out), "--name", "small", "--alias", "champion")
    for path in (job.out / "models").rglob("*.away"):
        path.rename(path.with_suffix(".joblib"))

    assert len(made) <= 10, made
    assert sum(size for _, _, size in made) <= 50_000
    loaded = mlflow.pyfunc.load_model("models:/small@champion")
    assert loaded.predict(frame()).tolist() == expected(job)
    again = requests_of(monkeypatch, str(job.out), "--name", "small", "--alias", "champion")
    assert len(again) <= 3


def test_called_again_it_moves_the_alias_after_a_release_and_after_a_rollback(tracked: str, job: Job) -> None:
    import mlflow

    def served() -> list[float]:
        return list(mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict(frame()))

    arguments = ["mlflow", str(job.out), "--name", NAME, "--alias", "champion"]
    assert main(arguments) == 0
    first = served()
    job.put("store=3/rows.csv.gz", line(30.0))
    job.run()
    assert served() == first

    assert main(arguments) == 0
    assert served() == expected(job) != first
    assert main([*arguments, "--at", "1"]) == 0
    assert served() == first
    assert len(mlflow.MlflowClient().search_model_versions(f"name='{NAME}'")) == 2
    Index(open_store(str(job.out))).rollback(1)
    assert main(arguments) == 0
    assert served() == first
    assert len(mlflow.MlflowClient().search_model_versions(f"name='{NAME}'")) == 3


def test_a_key_without_a_model_is_an_error_or_no_number_as_the_entry_says(tracked: str, job: Job) -> None:
    import mlflow

    rows = frame().assign(store=["3", "nobody", "2", "3"])
    assert main(["mlflow", str(job.out), "--name", "strict", "--alias", "champion"]) == 0
    assert main(["mlflow", str(job.out), "--name", "lax", "--alias", "champion", "--missing", "nan"]) == 0

    with pytest.raises(KeyError, match="no model of 'nobody'"):
        mlflow.pyfunc.load_model("models:/strict@champion").predict(rows)
    found = mlflow.pyfunc.load_model("models:/lax@champion").predict(rows)
    assert found.isna().tolist() == [False, True, False, False]


def test_a_table_that_was_changed_since_is_refused_by_the_digests_of_the_entry(tracked: str, job: Job) -> None:
    import mlflow

    assert main(["mlflow", str(job.out), "--name", "checked", "--alias", "champion"]) == 0
    file = job.out / "index" / Index(open_store(str(job.out))).files(1)[0]
    file.write_bytes(file.read_bytes()[:-1] + b"?")

    with pytest.raises(DamageError, match="other bytes"):
        mlflow.pyfunc.load_model("models:/checked@champion")


def test_a_spark_udf_scores_a_frame_by_the_key_columns(tracked: str, job: Job) -> None:
    import mlflow
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import struct

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    assert main(["mlflow", str(job.out), "--name", "udf", "--alias", "champion"]) == 0
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        predict = mlflow.pyfunc.spark_udf(spark, "models:/udf@champion", result_type="double", env_manager="local")
        table = spark.createDataFrame(frame())
        found = table.withColumn("prediction", predict(struct("x", "store"))).toPandas()
    finally:
        spark.stop()

    assert found["prediction"].tolist() == expected(job)
