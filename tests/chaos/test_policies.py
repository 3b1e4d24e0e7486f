"""The policies of docs/reference/policies, enforced by a server: each account, each action, each place; and a run with the least.

The server is versitygw, which enforces bucket policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from job.config.settings import JobSettings
from job.engine.inline import InlineEngine
from job.errors import InputError, OutputError
from job.registry.model_set import ModelSet
from job.run.assembly import assemble
from job.run.retention import gc
from job.run.run import run
from job.store import open_store
from tests.chaos.gateway import Gateway, gateway
from tests.chaos.world import OLD, body

pytestmark = pytest.mark.chaos

POLICIES = Path(__file__).parents[2] / "docs" / "reference" / "policies"
ACCOUNTS = ("reader", "writer", "publisher", "janitor")
PLACES = (
    "in/a",
    "out/models/a/b",
    "out/index/a",
    "out/runs/a",
    "out/signatures/a",
    "out/manyfit.json",
    "elsewhere/a",
    "out/gc/a",
    "out/keys/a",
)
MAY = {
    "reader": {"get": {1, 2, 4}},
    "writer": {"get": {0, 1, 3}, "put": {1, 3}},
    "publisher": {"get": {0, 1, 2, 3, 4, 5, 7, 8}, "put": {1, 2, 3, 4, 5, 7, 8}},
    "janitor": {"get": {1, 2, 3, 4, 5, 7, 8}, "put": {7}, "delete": {1, 2, 3, 4, 7, 8}},
}
"""What each account may do, by the numbers of `PLACES`; all may list, or a missing object would look like a denied one."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway")) as made:
        for account in ACCOUNTS:
            made.admin("create-user", "--access", account, "--secret", f"{account}-secret", "--role", "user")
        client = made.client()
        client.create_bucket(Bucket="models")
        for key, slope in OLD.items():
            client.put_object(Bucket="models", Key=f"in/{key}.csv.gz", Body=body(slope))
        statements = []
        for account in ACCOUNTS:
            text = (POLICIES / f"{account}.json").read_text()
            for each in json.loads(text.replace("BUCKET", "models").replace("INPUT", "in").replace("OUTPUT", "out"))[
                "Statement"
            ]:
                statements.append({**each, "Sid": f"{account}{each['Sid']}", "Principal": {"AWS": [account]}})
        client.put_bucket_policy(Bucket="models", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
        yield made


def test_each_account_may_do_what_its_policy_says_and_nothing_else(server: Gateway) -> None:
    root = server.client()
    wrong = []
    for account in ACCOUNTS:
        client = server.client(account)
        calls = {
            "get": lambda key, client=client: client.get_object(Bucket="models", Key=key),
            "put": lambda key, client=client: client.put_object(Bucket="models", Key=key, Body=b"x"),
            "delete": lambda key, client=client: client.delete_object(Bucket="models", Key=key),
        }
        client.list_objects_v2(Bucket="models")
        for number, place in enumerate(PLACES):
            for action, call in calls.items():
                root.put_object(Bucket="models", Key=f"{place}", Body=b"x")
                try:
                    call(place)
                    done = True
                except ClientError as error:
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
                        raise
                    done = False
                if done != (number in MAY[account].get(action, set())):
                    wrong.append(f"{account} {'may' if done else 'may not'} {action} {place}")
    for place in PLACES:
        root.delete_object(Bucket="models", Key=place)
    assert wrong == []


def test_a_run_needs_no_more_than_the_publisher_a_reader_no_more_than_the_reader_and_gc_no_more_than_the_janitor(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def become(account: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", account)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{account}-secret")

    def job(n: int) -> JobSettings:
        # Another user agent's number of retries for each account: clients are kept per process and settings.
        return JobSettings.model_validate(
            {
                "input": {"uri": "s3://models/in"},
                "recipe": {
                    "features": ["x"],
                    "target": "y",
                    "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
                },
                "output": {"uri": "s3://models/out", "report": "short"},
                "storage": {"endpoint": server.endpoint, "region": "us-east-1", "retries": n, "timeout": 60},
                "spark": {"master": "inline"},
            }
        )

    for n, account in ((3, "reader"), (4, "writer")):
        become(account)
        with pytest.raises((OutputError, InputError)):
            run(assemble(job(n)), {}, make_engine=lambda _: InlineEngine())
    become("publisher")
    report = run(assemble(job(5)), {}, make_engine=lambda _: InlineEngine())
    assert (report.exit_code, report.totals.trained, report.published) == (0, len(OLD), True)
    become("reader")
    models = ModelSet.open("s3://models/out", storage=job(6).storage.side("output"))
    assert {key: round(float(models[key].coef_[0]), 6) for key in models} == OLD
    become("janitor")
    root = server.client("root")
    root.put_object(Bucket="models", Key="out/models/a/unreferenced.joblib", Body=b"x")
    assert (
        gc(open_store("s3://models/out", job(7).storage.side("output")), dry_run=False, margin=0.0).kept_versions == 2
    )
    assert "Contents" not in root.list_objects_v2(Bucket="models", Prefix="out/models/a/unref")
    assert len(ModelSet.open("s3://models/out", storage=job(8).storage.side("output"))) == len(OLD)
