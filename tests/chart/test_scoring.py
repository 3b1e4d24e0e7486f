"""A release that scores is the same chart with another document."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.chart.network import INTERNET, Net
from tests.chart.reachability import Place
from tests.chart.rendering import MINIMAL, ROOT, SCORING, Object, Refused, case, merged, render

VALUES = re.compile(r"```yaml\n# values[^\n]*\n(.*?)```", re.DOTALL)


def test_the_document_tells_the_command() -> None:
    assert render(MINIMAL).application["spec"]["arguments"][0] == "run"
    assert render(SCORING).application["spec"]["arguments"][0] == "score"
    assert case("scoring").application["spec"]["arguments"][0] == "score"


def test_everything_around_the_command_is_that_of_a_training() -> None:
    trains, scores = render(MINIMAL), render(SCORING)
    assert [each["kind"] for each in trains.objects] == [each["kind"] for each in scores.objects]
    for one, other in zip(trains.objects, scores.objects, strict=True):
        if one["kind"] == "SparkApplication":
            one["spec"]["arguments"] = other["spec"]["arguments"] = []
        if one["kind"] == "Secret":  # made anew by each rendering
            one["data"] = other["data"] = {}
        if one["metadata"]["name"].endswith("-test-check"):
            assert one["spec"]["containers"][0]["args"][:3] == ["manyfit", "check", "--document"]
            one["spec"]["containers"][0]["args"] = other["spec"]["containers"][0]["args"]
        assert one == other


def test_the_memory_of_a_worker_its_authority_and_the_metrics_arrive_in_the_document() -> None:
    document = render(merged(SCORING, {"caBundle": {"configMapName": "ca"}, "metrics": {"enabled": True}})).document
    assert document["run"]["memory"] == "921MiB"
    assert document["storage"]["ca"] == "/etc/manyfit/ca/ca.crt"
    assert document["metrics"] == {"enabled": True}


def test_a_store_that_only_the_models_lie_in_is_open_in_the_network_policy() -> None:
    net = Net(case("scoring"))
    store = Place(labels={"app": "minio"}, namespace="models")
    for own in (net.driver, net.executor, net.test):
        assert net(own, store, 9000)
        assert net(own, INTERNET, 443)
    assert not Net(render(SCORING))(net.driver, store, 9000)
    # a side that a training does not have
    training = {"job": {"storage": {"input": {"endpoint": "http://minio.models.svc:9000"}}}}
    assert Net(render(merged(MINIMAL, training)))(net.driver, store, 9000)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"recipe": {"target": "y"}}, "/job/recipe': value must be 'recipe is for training, models and score are for"),
        ({"promote": {"metric": "r2"}}, "/job/promote': value must be 'promote is for training"),
        ({"score": {"keeep": ["a"]}}, "did you mean keep?"),
        ({"score": {"keep": ["a", True]}}, "job.score.keep has true for a name"),
        ({"score": {"actual": False}}, "job.score.actual has false for a name"),
        ({"models": {"uri": ""}}, "job.models.uri is not set"),
        ({"models": {"uri": "s3://key:canary@models/"}}, "job.models.uri holds credentials"),
        ({"output": {"signing_key": "/key.pem"}}, "signing_key"),
    ],
    ids=str,
)
def test_a_mixture_or_a_mistake_in_a_scoring_is_refused_and_named(values: Object, said: str) -> None:
    with pytest.raises(Refused) as refused:
        render(merged(SCORING, {"job": values}))
    assert said in str(refused.value)
    assert "canary" not in str(refused.value)


def test_only_a_function_of_the_users_scores_without_an_input() -> None:
    job = {**SCORING["job"], "score": {"function": "forecast:next_week"}}
    del job["input"]
    values = {"job": job, "code": {"files": {"forecast.py": "def next_week(model, rows, key): ..."}}}
    assert render(values).document["score"] == job["score"]
    with pytest.raises(Refused, match="uri is not set: where the data lies"):
        render({"job": {**job, "score": {"method": "predict"}}})
    with pytest.raises(Refused, match="are importable modules"):
        render(merged(values, {"job": {"score": {"function": "forecast.py:next_week"}}}))


def test_score_alone_makes_it_a_scoring_that_asks_for_models() -> None:
    job = {**SCORING["job"], "score": {"again": True}}
    del job["models"]
    with pytest.raises(Refused) as refused:
        render({"job": job})
    assert "job.models.uri is not set" in str(refused.value)
    assert "recipe" not in str(refused.value)


@pytest.mark.parametrize(("wrong", "right"), [("modles", "models"), ("scor", "score")])
def test_a_slip_in_the_name_that_makes_it_a_scoring_is_told(wrong: str, right: str) -> None:
    with pytest.raises(Refused, match=f"did you mean {right}"):
        render({"job": {wrong: {}}})


def test_the_documents_second_release_scores_an_hour_after_what_the_first_trains() -> None:
    blocks = [yaml.safe_load(each) for each in VALUES.findall((ROOT / "docs/how-to/kubernetes.md").read_text())]
    [scoring] = [each for each in blocks if "models" in each.get("job", {})]
    [training] = [each for each in blocks if each.get("job", {}).get("output", {}).get("uri") == scoring["job"]["models"]["uri"]
                  and each.get("schedule")]  # fmt: skip

    def hour(values: Any, release: str) -> int:
        made = render(values, release=release).one("ScheduledSparkApplication", release)
        return int(made["spec"]["schedule"].split()[1])

    assert hour(scoring, "scores") == hour(training, "models") + 1
    assert scoring["schedule"]["timeZone"] == training["schedule"]["timeZone"]
