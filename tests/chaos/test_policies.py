"""The policies of docs/reference/policies, enforced by a server: each account, each action, each place; and a run with the least.

The server is versitygw, which enforces bucket policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from job.config.score_settings import ScoringSettings
from job.config.settings import JobSettings, StorageSettings
from job.engine.inline import InlineEngine
from job.errors import InputError, OutputError
from job.registry.model_set import ModelSet
from job.run import forgetting
from job.run.assembly import assemble
from job.run.retention import gc
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from job.store import Store, open_store
from tests.chaos.gateway import Gateway, gateway
from tests.chaos.world import OLD, body

pytestmark = pytest.mark.chaos

POLICIES = Path(__file__).parents[2] / "docs" / "reference" / "policies"
ACCOUNTS = {"reader": "out", "writer": "out", "publisher": "out", "janitor": "out", "scorer": "scores"}
"""each with its output; the scorer's models are in the output of the others"""
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
    "out/forgotten/a",
    "out/runs/b/run.json",
    "scores/predictions/a",
)
MAY = {
    "reader": {"get": {1, 2, 4, 9}},
    "writer": {"get": {0, 1, 3, 10}, "put": {1, 3, 10}},
    "publisher": {"get": {0, 1, 2, 3, 4, 5, 7, 8, 9, 10}, "put": {1, 2, 3, 4, 5, 7, 8, 9, 10}},
    "janitor": {"get": {1, 2, 3, 4, 5, 7, 8, 9, 10}, "put": {7}, "delete": {1, 2, 3, 4, 7, 8, 9, 10}},
    "scorer": {"get": {0, 1, 2, 4, 9, 10, 11}, "put": {11}},
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
        for account, output in ACCOUNTS.items():
            text = (POLICIES / f"{account}.json").read_text()
            for word, place in {"BUCKET": "models", "INPUT": "in", "MODELS": "out", "OUTPUT": output}.items():
                text = text.replace(word, place)
            for each in json.loads(text)["Statement"]:
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


def test_after_a_key_was_forgotten_a_scoring_needs_no_more_than_the_scorer_and_readers_and_gc_still_end_well(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def become(account: str) -> dict[str, Any]:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", account)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{account}-secret")
        # Clients are kept per process and settings.
        return {"endpoint": server.endpoint, "region": "us-east-1", "retries": 5, "timeout": 60 + len(account)}

    def models(account: str) -> Store:
        return open_store("s3://models/out", StorageSettings.model_validate(become(account)).side("output"))

    store = models("root")
    forgetting.forget(store, forgetting.find(store, ["k0"]))

    document = {
        "models": {"uri": "s3://models/out", "at": 1},
        "input": {"uri": "s3://models/in"},
        "output": {"uri": "s3://models/scores", "report": "short"},
        "storage": become("scorer"),
        "run": {"engine": "inline"},
    }
    assembly = assemble_scoring(ScoringSettings.model_validate(document))
    scored = run(assembly, {}, purpose=ScoringRun(assembly), make_engine=lambda _: InlineEngine())
    assert (scored.totals.scored, scored.totals.skipped) == (len(OLD) - 1, 1)

    store = models("reader")
    assert len(ModelSet.open("s3://models/out", at=1, storage=store.settings)) == len(OLD)
    assert gc(models("janitor"), keep=1, dry_run=False, margin=0.0).others >= 1
