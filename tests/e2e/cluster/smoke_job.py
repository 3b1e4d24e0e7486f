"""What smoke.py runs inside of the cluster: every native library once, on every executor."""

import socket

from pyspark.sql import SparkSession
from pyspark.sql.functions import col


def part(frames):
    import boto3
    import deltalake
    import obstore
    import pandas as pd
    import pyarrow.parquet
    from sklearn.linear_model import LinearRegression

    assert all(module.__name__ for module in (boto3, deltalake, obstore, pyarrow.parquet))
    for frame in frames:
        model = LinearRegression().fit(frame[["x"]], frame["y"])
        yield pd.DataFrame({"host": [socket.gethostname()], "rows": [len(frame)], "slope": [model.coef_[0]]})


spark = SparkSession.builder.appName("smoke").getOrCreate()
data = spark.range(0, 1000, 1, 4).select(col("id").cast("double").alias("x"), (col("id") * 2.5).alias("y"))
rows = data.mapInPandas(part, "host string, rows long, slope double").collect()
assert sum(row.rows for row in rows) == 1000, rows
assert all(abs(row.slope - 2.5) < 1e-9 for row in rows), rows
counted = {row["k"]: row["count"] for row in data.groupBy((col("x") % 3).cast("int").alias("k")).count().collect()}
assert counted == {0: 334, 1: 333, 2: 333}, counted  # a shuffle, between executors
endpoint = spark.conf.get("spark.hadoop.fs.s3a.endpoint", None)
if endpoint:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=spark.conf.get("spark.hadoop.fs.s3a.access.key"),
        aws_secret_access_key=spark.conf.get("spark.hadoop.fs.s3a.secret.key"),
    )
    if "smoke" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="smoke")
    data.write.mode("overwrite").parquet("s3a://smoke/data")
    assert spark.read.parquet("s3a://smoke/data").count() == 1000
    print("SMOKE s3a")
print("SMOKE", sorted({row.host for row in rows}))
spark.stop()
