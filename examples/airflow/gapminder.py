"""Train every night on Kubernetes, and hand the version that was published to the next task.

The operator makes a SparkApplication of application.yaml, under a name of its own for each try, and follows the driver.
Its files then lie below ``runs/<that name>-<digest>/`` of the output; its ``result.json`` says what was published.
For Airflow 3 with the providers cncf.kubernetes and amazon; docs/how-to/orchestrators.md tells the rest.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.cncf.kubernetes.operators.spark_kubernetes import SparkKubernetesOperator
from airflow.sdk import dag, task

BUCKET, PREFIX = "models", "gapminder/"


def newest_result(names: list[str]) -> str:
    """The one ``result.json`` among the objects of a run."""
    found = [name for name in names if name.endswith("/result.json")]
    if len(found) != 1:
        raise LookupError(f"{len(found)} results: the run has not ended, or left none (exit codes other than 0 and 6)")
    return found[0]


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["manyfit"],
)
def gapminder() -> None:
    """Train, read the version, use it."""
    train = SparkKubernetesOperator(
        task_id="train",
        namespace="manyfit",
        application_file="application.yaml",
        startup_timeout_seconds=1800,
        log_events_on_failure=True,
        retries=2,
        retry_delay=timedelta(minutes=5),
    )

    @task
    def published(driver: str) -> dict[str, Any]:
        """What the run published, from its ``result.json``."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        hook = S3Hook()
        run = f"{PREFIX}runs/{driver.removesuffix('-driver')}-"
        name = newest_result(hook.list_keys(bucket_name=BUCKET, prefix=run))
        result = json.loads(hook.read_key(name, bucket_name=BUCKET))
        return {"version": result["version"], "published": result["published"], **result["totals"]}

    @task.short_circuit
    def is_new(result: dict[str, Any]) -> bool:
        """Nothing changed, nothing to do."""
        return bool(result["published"])

    @task
    def use(result: dict[str, Any]) -> None:
        """The place of what comes next: score, copy, tell somebody."""
        print(
            f"version {result['version']} of s3://{BUCKET}/{PREFIX}: {result['trained']} of {result['planned']} trained"
        )

    result = published(train.output["pod_name"])
    train >> result >> is_new(result) >> use(result)


gapminder()
