"""The settings: their defaults are what the reference says, their schema admits what the program admits."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from job.config.load import load
from job.config.schema import describe, find, job_schema, markdown, section, settings
from job.config.settings import JobSettings, StorageSettings
from job.config.value_types import SCHEMES, parse_duration, parse_endpoint, parse_share, parse_size, parse_uri
from job.errors import ConfigurationError

MINIMAL: dict[str, Any] = {
    "input": {"uri": "s3://raw/x/"},
    "recipe": {"features": ["year"], "target": "lifeExp", "estimator": {"_target_": "sklearn.linear_model.Ridge"}},
    "output": {"uri": "s3://models/x/"},
}


def document(**sections: Any) -> dict[str, Any]:
    return {
        **MINIMAL,
        **{
            name: {**MINIMAL.get(name, {}), **each} if isinstance(each, dict) else each
            for name, each in sections.items()
        },
    }


# -- values


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512_000_000),
        ("2GiB", 2 * 1024**3),
        ("1.5 kB", 1500),
        ("7", 7),
        ("4Gi", 4 * 1024**3),
        ("1tb", 10**12),
        (9, 9),
    ],
)
def test_sizes_are_written_as_people_write_them(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172800), ("250ms", 0.25), (3, 3)]
)
def test_durations_are_written_as_people_write_them(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "5 apples", "-5s", "1:30", "5 s 3", True])
def test_what_is_no_quantity_is_refused(text: Any) -> None:
    for parse in (parse_size, parse_duration):
        with pytest.raises(ValueError, match="is not a"):
            parse(text)


def test_max_failed_counts_or_is_a_share_of_the_plan_rounded_down() -> None:
    def allowed(value: Any, planned: int) -> int:
        return JobSettings.model_validate(document(run={"max_failed": value})).run.allowed_failures(planned)

    assert allowed(3, 10) == 3
    assert allowed("5%", 99) == 4
    assert allowed("0%", 99) == 0
    assert allowed("29%", 100) == 29
    assert allowed("2.5 %", 1000) == 25
    assert parse_share("7") == 7
    for bad in ("101%", "-1", -1, 0.05, True, "5 percent", "٥%"):
        with pytest.raises(ValueError, match="is neither a number"):
            parse_share(bad)


@pytest.mark.parametrize(
    ("given_uri", "uri"),
    [
        ("s3a://b/p/", "s3://b/p/"),
        ("S3://b/P", "s3://b/P"),
        ("gs://b/p", "gs://b/p"),
        ("azure://c/p", "az://c/p"),
        ("abfss://c@a.dfs.core.windows.net/p", "abfss://c@a.dfs.core.windows.net/p"),
        ("file:/data/x", "file:///data/x"),
        ("data/x", "data/x"),
        ("/data/a:b/x", "/data/a:b/x"),
        ("2024:q1/x", "2024:q1/x"),
        ("memory://x", "memory://x"),
    ],
)
def test_uris_keep_their_place_and_get_one_spelling(given_uri: str, uri: str) -> None:
    assert parse_uri(given_uri) == uri
    assert parse_uri(uri) == uri


def test_a_credential_in_a_uri_is_refused_by_the_settings_themselves() -> None:
    for bad in ("s3://key:hunter2@b/x", "s3://b/x?X-Amz-Signature=hunter2"):
        with pytest.raises(ValueError, match="credentials come from the environment"):
            parse_uri(bad)
    with pytest.raises(ValueError, match="holds credentials"):
        parse_endpoint("http://u:hunter2@h:9000")
    assert parse_endpoint("http://h:9000/") == "http://h:9000"


@given(
    st.sampled_from(sorted(SCHEMES)),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    st.text(),
)
def test_a_uri_is_normalised_once(scheme: str, bucket: str, prefix: str) -> None:
    try:
        once = parse_uri(f"{scheme}://{'/' if scheme == 'file' else ''}{bucket}/{prefix}")
    except ValueError:
        return
    assert parse_uri(once) == once


# -- the model


def test_each_side_of_the_storage_overrides_what_is_for_both() -> None:
    both = StorageSettings.model_validate(
        {"region": "a", "retries": 3, "output": {"region": "b", "single_writer": True}}
    )
    assert (both.side("input").region, both.side("output").region) == ("a", "b")
    assert (both.side("input").retries, both.side("output").retries) == (3, 3)
    assert (both.side("input").single_writer, both.side("output").single_writer) == (None, True)


def test_settings_cannot_be_changed_and_survive_pickling() -> None:
    job = JobSettings.model_validate(MINIMAL)
    assert pickle.loads(pickle.dumps(job)) == job
    with pytest.raises(ValidationError):
        job.name = "x"  # type: ignore[misc]


def test_short_forms_mean_their_long_forms() -> None:
    short = JobSettings.model_validate(
        document(input={"format": "csv", "match": "*.csv"}, recipe={"validation": "kfold", "metrics": "r2"})
    )
    long = JobSettings.model_validate(
        document(
            input={"format": {"type": "csv"}, "match": ["*.csv"]},
            recipe={"validation": {"method": "kfold"}, "metrics": ["r2"]},
        )
    )
    assert short == long
    assert JobSettings.model_validate(document(input={"format": "ndjson"})).input.format.type == "json"


def test_an_output_below_the_input_is_fine_where_the_globs_cannot_reach_it() -> None:
    narrow = document(input={"uri": "/data", "match": "*.csv"}, output={"uri": "/data/models"})
    assert JobSettings.model_validate(narrow).output.uri == "/data/models"
    with pytest.raises(ValidationError, match=r"lies inside input\.uri"):
        JobSettings.model_validate(document(input={"uri": "/data"}, output={"uri": "/data/models"}))


# -- schema and reference


def test_every_setting_is_described() -> None:
    assert [path for path, schema in settings() if not schema.get("description")] == []


def test_the_schema_stands_alone_and_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(job_schema())
    assert "$ref" not in json.dumps(job_schema())
    assert "$defs" not in json.dumps(job_schema())


def test_every_section_refuses_unknown_names_in_the_schema() -> None:
    sections = [("", job_schema()), *settings()]
    assert [
        path for path, each in sections if (inner := section(each)) and inner["additionalProperties"] is not False
    ] == []


def test_the_defaults_written_out_are_a_valid_document() -> None:
    whole = JobSettings.model_validate(MINIMAL).model_dump(mode="json", by_alias=True)
    jsonschema.validate(whole, job_schema())
    assert JobSettings.model_validate(whole) == JobSettings.model_validate(MINIMAL)


CASES: list[tuple[dict[str, Any], bool]] = [
    (MINIMAL, True),
    (document(input={"format": "csv", "match": "*.csv", "include": "a*"}), True),
    (document(input={"format": {"type": "csv", "max_bytes": "2GB"}}), True),
    (document(recipe={"validation": "kfold"}), True),
    (document(recipe={"validation": {"method": "kfold", "folds": 3}}), True),
    (document(run={"max_failed": "5%", "timeout": "15m", "memory": "2GiB"}), True),
    (document(run={"max_failed": 5, "timeout": None, "memory": 10**9}), True),
    (document(spark={"conf": {"spark.a": 1, "spark.b": "x", "spark.c": True}}), True),
    (document(storage={"output": {"single_writer": True}}), True),
    (document(input={"sample": 0.1}), True),
    (document(input={"sample": 10}), True),
    (document(input={"layuot": "objects"}), False),
    (document(input={"layout": "object"}), False),
    (document(input={"only": [7]}), False),
    (document(recipe={"validation": "tiem"}), False),
    (document(run={"max_failed": "lots"}), False),
    (document(run={"max_failed": -1}), False),
    (document(run={"timeout": "soon"}), False),
    (document(run={"id": "../x"}), False),
    (document(artifact={"compress": 10}), False),
    (document(storage={"retries": -1}), False),
    (document(nmae="x"), False),
    ({"recipe": MINIMAL["recipe"], "output": MINIMAL["output"]}, False),
]


@pytest.mark.parametrize(("case", "right"), CASES)
def test_the_schema_and_the_program_agree(case: dict[str, Any], right: bool) -> None:
    assert jsonschema.Draft202012Validator(job_schema()).is_valid(case) is right
    try:
        JobSettings.model_validate(case)
        accepted = True
    except ValidationError:
        accepted = False
    assert accepted is right


@pytest.mark.parametrize(("case", "right"), [each for each in CASES if "only" not in json.dumps(each[0])])
def test_the_program_takes_the_same_from_a_document(case: dict[str, Any], right: bool) -> None:
    try:
        load(document=json.dumps(case), env={})
        accepted = True
    except ConfigurationError:
        accepted = False
    assert accepted is right


def test_what_may_be_written_is_said_in_words() -> None:
    said = {
        path: describe(find(path) or {})
        for path in ("name", "input.match", "input.layout", "run.timeout", "storage.path_style")
    }
    assert said == {
        "name": "a text",
        "input.match": "a text or a list of texts",
        "input.layout": "one of objects, hive, columns",
        "run.timeout": "a number or a text",
        "storage.path_style": "true or false",
    }


def test_the_reference_in_the_documents_is_the_programs() -> None:
    written = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"
    assert written.read_text(encoding="utf-8") == markdown(), "run `make docs`"
