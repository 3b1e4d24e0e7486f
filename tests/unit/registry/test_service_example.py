"""The example of a service: each key by its model, mistakes by their codes, a new version while requests go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from tests.support.folder_job import Job, line
from tests.support.script import script

EXAMPLE = Path(__file__).parents[3] / "examples" / "service" / "service.py"


@pytest.fixture(scope="module")
def service() -> Any:
    return script(EXAMPLE)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    for key in ("a", "store=1/item=2"):
        made.put(f"{key}.csv.gz", line(2.0))
    made.run()
    return made


@pytest.fixture
def client(service: Any, job: Job) -> Iterator[TestClient]:
    with TestClient(service.app(str(job.out), every=0.05)) as found:
        yield found


def test_rows_go_to_the_model_of_their_key_whatever_its_name(client: TestClient, job: Job) -> None:
    for key in ("a", "store=1/item=2"):
        answer = client.post(f"/predict/{key}", json={"rows": [{"x": 1.5, "more": "text"}, {"x": 2}]})

        assert answer.status_code == 200
        expected = job.models()[key].predict(pd.DataFrame({"x": [1.5, 2.0]})).tolist()
        assert answer.json() == {"key": key, "version": 1, "predictions": expected}
    assert client.get("/health").json() == {"version": 1, "models": 2}


def test_a_key_without_a_model_is_not_found(client: TestClient) -> None:
    answer = client.post("/predict/nobody", json={"rows": [{"x": 1.0}]})

    assert (answer.status_code, answer.json()["detail"]) == (404, "no model of 'nobody' in version 1")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"z": 1.0}], "the frame has no column 'x'"),
        ([{"x": "high"}], "the rows do not fit the model: ValueError"),
        ([{"x": None}], "the rows do not fit the model: ValueError"),
        ([], "at least 1 item"),
        ([{"x": [1]}], "valid"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(client: TestClient, rows: Any, told: str) -> None:
    answer = client.post("/predict/a", json={"rows": rows})

    assert answer.status_code == 422
    assert told in str(answer.json()["detail"])


def test_a_new_version_is_taken_up_while_requests_go_on_and_no_answer_mixes_two(client: TestClient, job: Job) -> None:
    answers: list[tuple[int, float]] = []
    failed: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = client.post("/predict/a", json={"rows": [{"x": 1.0}, {"x": 0.0}]})
            if answer.status_code != 200:
                failed.append(answer.status_code)
                continue
            told = answer.json()
            answers.append((told["version"], round(told["predictions"][0] - told["predictions"][1], 4)))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        job.put("a.csv.gz", line(5.0))
        job.run()
        until = time.monotonic() + 60
        while not (answers and answers[-1][0] == 2) and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        stop.set()
        asking.join()

    assert not failed
    assert set(answers) == {(1, 2.0), (2, 5.0)}
    assert answers == sorted(answers)


def test_models_that_a_new_version_did_not_change_stay_in_memory(service: Any, job: Job) -> None:
    fleet = service.Fleet(str(job.out), cache=8, every=3600)
    same, other = fleet.models["store=1/item=2"], fleet.models["a"]
    job.put("a.csv.gz", line(5.0))
    job.run()

    fleet.refresh()

    assert fleet.models.version == 2
    assert fleet.models["store=1/item=2"] is same
    assert fleet.models["a"] is not other
    assert fleet.models.newer() is None
