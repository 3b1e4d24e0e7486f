"""Jobs on a folder, run through the shared Spark session."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from tests.support.spark_jobs import Job


@pytest.fixture
def job(tmp_path: Path, spark: SparkSession) -> Job:
    return Job(tmp_path)


@pytest.fixture
def line() -> Callable[..., bytes]:
    """A gzipped data set with a known slope."""

    def make(slope: float, rows: int = 20) -> bytes:
        x = np.linspace(0, 10, rows)
        return gzip.compress(("x,y\n" + "".join(f"{a:.6f},{slope * a:.6f}\n" for a in x)).encode())

    return make
