"""The demo, from the data to the verified set: on the newest Spark, in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.engines import LONG, manyfit


@pytest.mark.spark
def test_the_demo_shows_every_step_of_the_article() -> None:
    process = manyfit("demo")
    out, said = process.communicate(timeout=LONG)

    assert process.returncode == 0, said
    for text in (
        "df1.csv.gz",
        "df2.csv.gz",
        "2 trained",
        "shuffle read 0 B, shuffle write 0 B",
        "put their models straight into the bucket",
        "0 damaged",
    ):
        assert text in out
    slopes = [float(line.split()[2]) for line in out.splitlines() if line.strip().startswith("df")]
    assert slopes == pytest.approx([2.5, 3.0], abs=0.05)
    assert "Traceback" not in said
