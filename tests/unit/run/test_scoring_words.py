"""What is said of a scoring: its page, its versions, its plan and its failures speak of keys that were scored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from job.cli.main import main
from job.fit.partition_fit import Result
from job.page import build, facts
from job.registry.index import Index
from job.worker import watchdog
from job.worker.operation import Item
from tests.support.score_job import ScoreJob, rows

OF_TRAINING = re.compile(r"\b(trained|training|fits?|fitted|models? per|models/s)\b", re.IGNORECASE)


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=3)
    made.trained.run()
    made.put("extra.csv", rows(1.0))
    made.overrides = {"score": {"actual": "y"}, "run": {"engine": "inline", "max_failed": 3}}
    return made


def words_of(found: facts.Facts) -> str:
    sections = build.sections(found)
    texts = [f"{each.question} {each.answer} {each.figures}" for each in sections]
    texts += [f"{each.title} {each.note}" for section in sections for each in section.pictures]
    texts += [f"{each.title} {[column.name for column in each.columns]}" for each in build.grids(sections)]
    return "\n".join(texts).replace("trained_at", "")


def test_neither_page_speaks_of_training(job: ScoreJob) -> None:
    job.score()
    job.put("k0.csv", rows(3.0))
    job.put("k1.csv", b"id,z\n1,2\n")
    report = job.score()
    short = (job.out / "runs" / report.run / "report.html").read_text()
    body = short[short.index("</style>") :]
    for allowed in ("recipe.features of the training", "the model was trained on"):
        body = body.replace(allowed, "")
    assert OF_TRAINING.findall(body) == []
    said = words_of(facts.read(job.assembly().output))
    assert OF_TRAINING.findall(said) == []
    assert "scored" in said
    assert "keys_per_second" in said
    assert "Which keys are predicted badly?" in said
    assert "by mae, 1 worse and 0 better" in said, "n, the number of rows, is no error"


def test_a_version_of_predictions_has_the_rows_of_its_keys_though_the_index_has_more_versions(
    job: ScoreJob, capsys: pytest.CaptureFixture[str]
) -> None:
    first = job.score().version
    job.predictions.hold()
    assert Index(job.assembly().output).resume().version == 3, "of the index; the predictions are at version 2"
    job.put("k1.csv", rows(2.0, count=4))
    job.put("k0.csv", rows(5.0, count=3))
    last = job.score().version

    def states(at: int | None) -> dict[str, str]:
        assert main(["models", str(job.out), "--json", *(["--at", str(at)] if at is not None else [])]) == 0
        return {row["key"]: row["state"] for row in map(json.loads, capsys.readouterr().out.splitlines())}

    assert states(first)["k1"] == "live"
    assert states(last)["k1"] == "live"
    assert main(["models", str(job.out), "--at", "4"]) == 2
    capsys.readouterr()
    assert main(["compare", str(job.out), "--json"]) == 0
    changes = {row["key"]: row["change"] for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert changes == {"k0": "predictions", "k1": "predictions"}
    found = facts.read(job.assembly().output)
    assert (found.version, found.against) == (last, last - 1)


def test_a_plan_says_of_each_key_what_happens_and_why(
    job: ScoreJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "score.yaml"
    document = {"models": {"uri": str(job.trained.out)}, "input": {"uri": str(job.data)}, "run": {"engine": "inline"}}
    path.write_text(yaml.safe_dump({**document, "output": {"uri": str(job.out)}}))

    def plan() -> tuple[dict[str, int], set[tuple[str, str, bool]]]:
        assert main(["plan", "-c", str(path), "--json", "--keys"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {row["key"] for row in found["keys"]} == {"extra", "k0", "k1", "k2"}
        numbers = {name: found[name] for name in ("planned", "score", "unchanged", "skip", "fail", "adopt")}
        assert numbers["planned"] == sum(each["keys"] for each in found["why"])
        return numbers, {(each["action"], each["why"], each["again"]) for each in found["why"]}

    assert plan()[1] == {("score", "new", False), ("skip", "no_model", False)}
    assert main(["score", "-c", str(path)]) == 0
    capsys.readouterr()
    numbers, why = plan()
    assert (numbers["unchanged"], numbers["skip"]) == (3, 1)
    assert why == {("unchanged", "unchanged", False), ("skip", "no_model", True)}
    assert main(["plan", "-c", str(path)]) == 0
    assert "skipped by the last run, and neither rows nor model nor settings changed since" in capsys.readouterr().out
    path.write_text(yaml.safe_dump({**document, "output": {"uri": f"{job.out}-failing"},
                                    "score": {"missing_model": "fail"}}))  # fmt: skip
    assert plan()[1] == {("score", "new", False), ("fail", "no_model", False)}


def test_the_watchdog_says_what_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Result] = []
    monkeypatch.setattr(watchdog.Watchdog, "_die", lambda self: self.stop())
    watch = watchdog.Watchdog(
        named="the scoring of this key", timeout=0.01, memory=None, record=lambda item, result: ended.append(result),
        flush=lambda: None,
    )  # fmt: skip
    watch.begin(Item(key="a", data="", content=None, bytes=0, objects=[]))
    watch._stop.wait(60)
    assert ended[0].message == "the scoring of this key took longer than run.timeout (0.01 s) and was ended"


@pytest.mark.parametrize(("arguments", "title", "has"), [
    (["job"], "manyfit job", "recipe"), (["score"], "manyfit score", "score"), ([], "manyfit job", "recipe"),
])  # fmt: skip
def test_the_settings_of_each_document_have_a_schema_of_their_own(
    arguments: list[str], title: str, has: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings", *arguments, "--json"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == title
    assert has in schema["properties"]
    assert ("recipe" in schema["properties"]) != ("score" in schema["properties"])


def test_the_settings_of_a_file_are_those_of_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "score.yaml"
    path.write_text("models: {uri: a}\noutput: {uri: b}\n")
    assert main(["settings", "-c", str(path)]) == 0
    text = capsys.readouterr().out
    assert "`score.method`" in text
    assert "`storage.models.*`" in text
    assert "recipe.estimator" not in text
    assert "make docs" not in text
    assert main(["settings", "job", "-c", str(path)]) == 2
    assert main(["settings", "-c", str(tmp_path / "none.yaml")]) == 2
    assert "is no file" in capsys.readouterr().err + caplog.text
