"""One table instead of an object for each key: read by Spark, and by the executors themselves."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import Space


def tables(space: Space) -> list[str]:
    """A table that Spark reads from s3a, and its event log there; the names of the logs."""
    rows = "".join(f"shop-{key},{x},{x * (key + 1)}\n" for x in range(20) for key in range(5))
    for part in range(2):
        space.s3.put_object(Bucket=space.bucket, Key=f"table/part-{part}.csv", Body=f"store,x,y\n{rows}".encode())
    space.s3.put_object(Bucket=space.bucket, Key="logs/", Body=b"")
    source = {"uri": f"s3://{space.bucket}/table/", "layout": "columns", "key": ["store"], "reader": "spark"}
    values = space.values("table", "table-out", input=source)
    assert space.cluster.image_s3a
    repository, _, tag = space.cluster.image_s3a.rpartition(":")
    values["image"] = {"repository": repository, "tag": tag}
    values["eventLog"] = {"enabled": True, "dir": f"s3a://{space.bucket}/logs/"}
    values["executor"]["memory"] = values["driver"]["memory"] = "1g"
    space.install("tables", values)
    space.completed("tables")
    return space.objects("logs/")


def shuffled(space: Space) -> dict[str, Any]:
    """One table whose rows of a key lie in both of its files, read by the executors themselves; the report."""
    for part in range(2):
        rows = (f"shop-{key:02d},{x},{x * (key + 1)}\n" for x in range(part, 40, 2) for key in range(12))
        body = f"store,x,y\n{''.join(rows)}".encode()
        space.s3.put_object(Bucket=space.bucket, Key=f"rows/part-{part}.csv", Body=body)
    source = {"uri": f"s3://{space.bucket}/rows/", "layout": "columns", "key": ["store"]}
    values = space.values("rows", "rows-out", input=source)
    # the work is too short for an executor that comes late
    values["sparkConf"] = {"spark.scheduler.minRegisteredResourcesRatio": "1.0"}
    space.install("rows", values)
    space.completed("rows")
    return space.result("rows-out")
