"""A local Spark session for the peers, and how they read: with Spark's own reader, from files.

Reading the server's files spares these peers the S3 client altogether: a gift, so that no jar has to be fetched.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.workload import Workload


def start(work: Workload, **conf: str) -> Any:
    """A session with Spark's defaults, but for what is given."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(f"local[{work.cores}]").appName("bench")
    given = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        **{name.replace("__", "."): value for name, value in conf.items()},
    }
    for name, value in given.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def frame(session: Any, work: Workload) -> Any:
    """All objects as one DataFrame, with the file each row comes from."""
    if work.folder is None:
        raise RuntimeError("Spark's reader needs the server's files, and this server keeps none")
    schema = ", ".join(f"{name} double" for name in [*work.columns, "y"])
    read = session.read.schema(schema)
    data = read.parquet(work.folder) if work.format == "parquet" else read.option("header", True).csv(work.folder)
    return data.select("*", "_metadata.file_name")
