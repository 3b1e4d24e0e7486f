"""Arguments, environment, document and file become settings; every mistake is named, none echoes a credential."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.config.load import Loaded, load, load_storage, to_document
from job.config.mistakes import Mistake, show
from job.config.redaction import HIDDEN
from job.config.settings import JobSettings
from job.errors import ConfigurationError
from job.fit.recipe_mistakes import of_settings

MINIMAL = """\
input: {uri: s3://raw/x/}
recipe: {features: [year], target: lifeExp, estimator: {_target_: sklearn.linear_model.LinearRegression}}
output: {uri: s3://models/x/}
"""


def loaded(text: str = "", *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Loaded:
    return load(document=MINIMAL + text, argv_overrides=arguments, env=env or {}, **options)


def problems(
    text: str = "", *arguments: str, env: Mapping[str, str] | None = None, minimal: str = MINIMAL
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(document=minimal + text, argv_overrides=arguments, env=env or {})
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def problem(text: str = "", *arguments: str, env: Mapping[str, str] | None = None, minimal: str = MINIMAL) -> str:
    (only,) = problems(text, *arguments, env=env, minimal=minimal)
    return only


# -- precedence


def test_the_command_line_wins_over_the_environment_over_the_document_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(MINIMAL + "name: file\nrun: {seed: 1, max_failed: 1, timeout: 1, memory: 1}\n")
    found = load(
        argv_overrides=["--run.seed", "4"],
        env={"MANYFIT_RUN__SEED": "3", "MANYFIT_RUN__MAX_FAILED": "3"},
        document="run: {seed: 2, max_failed: 2, timeout: 2}",
        file=str(file),
    )
    run = found.settings.run
    assert (run.seed, run.max_failed, run.timeout, run.memory) == (4, 3, 2, 1)
    names = ("run.seed", "run.max_failed", "run.timeout", "run.memory", "run.id")
    assert [found.sources[name] for name in names] == ["argument", "env", "document", "file", "default"]


def test_what_was_given_is_listed_with_its_place() -> None:
    found = loaded("run: {seed: 7}\n", "--input.limit=3", env={"MANYFIT_STORAGE__REGION": "eu-west-1"})
    assert ("run.seed", 7, "the document, line 4") in found.changed()
    assert ("input.limit", 3, "command line") in found.changed()
    assert ("storage.region", "eu-west-1", "environment, MANYFIT_STORAGE__REGION") in found.changed()
    assert "run.timeout" not in {path for path, _, _ in found.changed()}


def test_code_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(MINIMAL)
    assert load(file=str(file), env={}).base == tmp_path
    assert loaded().base == Path.cwd()


def test_a_file_at_a_uri_is_read_by_the_given_reader() -> None:
    found = load(
        file="s3://bucket/job.yaml", env={}, read=lambda uri: MINIMAL.encode() if uri.startswith("s3:") else b""
    )
    assert found.settings.input.uri == "s3://raw/x/"
    assert found.sources["input.uri"] == "file"


def test_a_whole_mapping_replaces_and_a_dotted_name_changes() -> None:
    minimal = MINIMAL.replace(
        "{_target_: sklearn.linear_model.LinearRegression}", "{_target_: sklearn.linear_model.Ridge, alpha: 2}"
    )
    changed = load(
        document=minimal, argv_overrides=["--recipe.estimator.alpha", "1e-3"], env={}
    ).settings.recipe.estimator
    assert changed == {"_target_": "sklearn.linear_model.Ridge", "alpha": 0.001}
    whole = load(
        document=minimal, argv_overrides=["--recipe.estimator", "{_target_: a.B}"], env={}
    ).settings.recipe.estimator
    assert whole == {"_target_": "a.B"}


def test_an_argument_may_come_with_a_space_or_an_equals_sign_or_twice_for_a_list() -> None:
    found = loaded(
        "",
        "--run.max_failed",
        "5%",
        "--name=a=b",
        "--input.only",
        "df1",
        "--input.only=[a, 'b,c']",
        "--storage.path_style",
    )
    assert found.settings.run.max_failed == "5%"
    assert found.settings.name == "a=b"
    assert found.settings.input.only == ["df1", "a", "b,c"]
    assert found.settings.storage.path_style is True


def test_spark_settings_keep_their_dots_and_are_merged() -> None:
    found = loaded(
        "spark: {conf: {spark.a.b: 1, spark.c: x}}\n",
        "--spark.conf.spark.executor.memory",
        "2g",
        "--spark.conf.spark.c=y",
    )
    assert found.settings.spark.conf == {"spark.a.b": 1, "spark.c": "y", "spark.executor.memory": "2g"}


def test_a_short_form_and_an_option_of_the_long_form_go_together() -> None:
    found = loaded("", "--input.format.delimiter=;", env={"MANYFIT_INPUT__FORMAT": "csv"})
    assert (found.settings.input.format.type, found.settings.input.format.delimiter) == ("csv", ";")


def test_a_section_may_come_as_one_variable() -> None:
    found = loaded("", env={"MANYFIT_RUN": '{"seed": 5, "id": "r1"}', "MANYFIT_RUN__ID": "r2"})
    assert (found.settings.run.seed, found.settings.run.id) == (5, "r2")


def test_a_glob_that_begins_with_a_bracket_or_a_star_needs_no_quotes_outside_yaml() -> None:
    found = loaded("", "--input.match", "[ab]*.csv", "--input.include=*.x")
    assert found.settings.input.match == ["[ab]*.csv"]
    assert found.settings.input.include == ["*.x"]


def test_s3a_is_s3_and_a_tilde_is_home() -> None:
    found = loaded("", "--input.uri", "s3a://raw/y", "--output.uri", "~/models", env={"HOME": "/home/ada"})
    assert found.settings.input.uri == "s3://raw/y"
    assert found.settings.output.uri == "/home/ada/models"


# -- exact text


def test_keys_are_the_exact_text_that_was_written() -> None:
    written = ["NO", "on", "007", "1.0", "1e3", "0x1F", "2020-01-01", "null", "~", "true", "1_000", "12:30:00", ".inf"]
    found = loaded("", f"--input.only=[{', '.join(written)}]")
    assert found.settings.input.only == written
    file = load(document=MINIMAL.replace("s3://raw/x/}", f"s3://raw/x/, only: [{', '.join(written)}]" + "}"), env={})
    assert file.settings.input.only == written
    assert load(document=MINIMAL + "name: 007", env={}).settings.name == "007"


def test_untyped_values_follow_yaml_1_2() -> None:
    found = loaded(
        "",
        "--recipe.estimator",
        "{_target_: a.B, a: 1e-3, b: yes, c: 012, d: null, e: True, f: 1_000, g: '5', h: [on]}",
    )
    assert found.settings.recipe.estimator == {
        "_target_": "a.B", "a": 0.001, "b": "yes", "c": 12, "d": None, "e": True, "f": 1000, "g": "5", "h": ["on"],
    }  # fmt: skip


def test_json_keeps_emoji_that_are_written_as_surrogates() -> None:
    document = json.dumps({"input": {"uri": "/in", "only": ["\U0001f600", "é"]}, "output": {"uri": "/out"},
                           "recipe": {"function": "m:f"}})  # fmt: skip
    assert load(document=document, env={}).settings.input.only == ["\U0001f600", "é"]


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), min_size=1))
def test_any_key_survives_json(keys: list[str]) -> None:
    document = json.dumps(
        {"input": {"uri": "/in", "only": keys}, "output": {"uri": "/out"}, "recipe": {"function": "m:f"}}
    )
    assert load(document=document, env={}).settings.input.only == keys


def test_null_is_nothing_where_nothing_may_be_given() -> None:
    assert loaded("", "--run.timeout=null", "--recipe.target=null").settings.run.timeout is None
    assert loaded("spark:\nartifact: ~\n").settings.artifact.check == "load"


# -- mistakes


def test_all_mistakes_of_all_sources_are_reported_at_once() -> None:
    found = problems(
        "run: {max_failed: lots, timeot: 3}\nartifact: {compress: 12}\n",
        "--input.limt",
        "3",
        "--input.layout=obejcts",
        "stray",
        env={"MANYFIT_INPUT__URL": "s3://b/", "MANYFIT_OUTPUT__KEEP": "0"},
    )
    assert found == [
        "run.timeot = '3' (the document, line 4): no such setting; did you mean run.timeout?",
        "MANYFIT_INPUT__URL = 's3://b/' (environment): no such setting; did you mean MANYFIT_INPUT__URI?",
        "stray (command line): is not an argument of this command",
        "input.limt = '3' (command line): no such setting; did you mean input.limit?",
        "input.layout = 'obejcts' (command line): is not one of objects, hive, columns; did you mean objects?",
        "output.keep = 0 (environment, MANYFIT_OUTPUT__KEEP): must be at least 1",
        "run.max_failed = 'lots' (the document, line 4): is neither a number of partitions nor a percentage such as 5%",
        "artifact.compress = 12 (the document, line 5): must be at most 9",
    ]


def test_the_message_holds_every_mistake_and_their_number() -> None:
    with pytest.raises(ConfigurationError, match=r"2 mistakes in the settings:\n  run\.x .*\n  run\.y "):
        loaded("run: {x: 1, y: 2}")


def test_settings_that_are_missing_are_named() -> None:
    found = problems(minimal="name: x\n")
    assert [each.split(":")[0] for each in found] == ["input.uri", "recipe", "output.uri"]
    assert "has nothing to fit" in found[1]
    with pytest.raises(ConfigurationError, match=r"Give the job as a file: -c job\.yaml"):
        load(env={})


def test_a_document_of_the_wrong_shape_is_one_mistake() -> None:
    for text in ("[1, 2]", "just text", "- a\n- b\n"):
        (only,) = problems(minimal=text)
        assert only.startswith("the document: is not a mapping of name, input, recipe, output")
    (only,) = problems(minimal=MINIMAL.replace("{uri: s3://raw/x/}", "[uri, s3://raw/x/]"))
    assert only.startswith("input (the document, line 1): is not a mapping of uri, layout")


def test_pythons_none_in_a_recipe_is_recognised() -> None:
    said = problem("", "--recipe.estimator={_target_: a.B, steps: [[x, {_target_: a.C, max_depth: None}]]}")
    assert said == (
        "recipe.estimator.steps[0][1].max_depth = 'None' (command line): "
        "is a text: None is written null in YAML, and a text in quotes"
    )
    assert loaded("", "--recipe.estimator={_target_: a.B, kind: 'None', other: null}").settings.recipe.estimator == {
        "_target_": "a.B",
        "kind": "None",
        "other": None,
    }


def test_a_misspelt_required_setting_is_one_mistake() -> None:
    assert problem(minimal=MINIMAL.replace("{uri: s3://raw", "{url: s3://raw")) == (
        "input.url = 's3://raw/x/' (the document, line 1): no such setting; did you mean input.uri?"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("features: [a]", "recipe.features"),
        ("max_failed: 1", "run.max_failed"),
        ("inputs: {}", "input"),
        ("storage: {path-style: true}", "storage.path_style"),
        ("storage: {output: {end_point: x}}", "storage.output.endpoint"),
        ("run: {keep: 3}", "output.keep"),
        ("spark: {config: {}}", "spark.conf"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_known_one(name: str, meant: str) -> None:
    assert problem(name).endswith(f"did you mean {meant}?")


def test_a_name_like_no_other_is_answered_with_the_names_there_are() -> None:
    assert problem("artifact: {zzzz: 1}").endswith("no such setting; known here: check, compress, max_bytes")


def test_the_charts_values_given_as_a_job_are_recognised() -> None:
    with pytest.raises(ConfigurationError, match="the job is what stands below job"):
        load(document="job: {input: {uri: x}}", env={})


def test_mistakes_between_settings_come_with_the_others() -> None:
    found = problems(
        "run: {seed: -1}\n",
        "--input.layout=hive",
        "--input.key=(x)",
        "--recipe.features=[a, lifeExp]",
        "--spark.conf.executor.memory=1g",
        "--output.uri=s3://raw/x/",
    )
    assert [each.partition(" ")[0] for each in found] == [
        "input.key", "recipe.features", "run.seed", "spark.conf.executor.memory", "output.uri",
    ]  # fmt: skip


def test_mistakes_inside_the_estimator_come_with_those_of_other_settings() -> None:
    text = """
        input: {uri: in, limit: -1}
        output: {uri: out}
        recipe:
          target: y
          min_rows: few
          estimator: {_target_: sklearn.linear_model.Ridge, alfa: 1}
          fallback: {_target_: sklearn.dummy.Dummy}
          metrics: [r2, r3]
    """
    with pytest.raises(ConfigurationError) as caught:
        load(document=text, env={}, judge=of_settings)
    said = [each.split(" ")[0] for each in caught.value.problems]
    inside = ["recipe.estimator.alfa:", "recipe.fallback._target_:", "recipe.metrics:"]
    assert said == ["input.limit", "recipe.min_rows", *inside]


@pytest.mark.parametrize("estimator", ["", "estimator: Ridge", "estimator: {target: sklearn.linear_model.Ridge}"])
def test_an_estimator_that_is_missing_or_no_document_is_one_mistake(estimator: str) -> None:
    text = f"input: {{uri: in}}\noutput: {{uri: out}}\nrecipe:\n  target: y\n  {estimator}"
    with pytest.raises(ConfigurationError) as caught:
        load(document=text, env={}, judge=of_settings)
    assert len(caught.value.problems) == 1


def test_no_mistake_is_made_up_from_another_one() -> None:
    assert problem("", "--input.layout=colums", "--input.key=[a]").startswith("input.layout ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run:\n\tseed: 1\n", "line 5, column 1): is not valid YAML: a tab where only spaces may indent"),
        ("input2: *.csv\n", 'a text that starts with * must be in quotes, for example match: "*.csv"'),
        ("name: x\nname: y\n", "line 5): says 'name' twice; the first is in line 4"),
        ("run: {seed: 1, seed: 2}\n", "line 4): says 'seed' twice"),
        ("name: [a\n", "is not valid YAML"),
        ("name: !!python/object:os.system x\n", "line 4): has the tag tag:yaml.org,2002:python/object:os.system: tags are not allowed"),
        ("name: &a [*a]\n", "contains itself by an alias"),
        ("---\nname: x\n", "holds several YAML documents"),
        ("name: {{ .Values.x }}\n", "has a list or mapping as a name"),
        ("run: 3\n", "run = '3' (the document, line 4): is not a mapping of engine, "),
        ("run: [1]\n", "run (the document, line 4): is not a mapping of engine, "),
        ("run: {seed: true}\n", "run.seed = 'true' (the document, line 4): is not a whole number"),
        ("run: {seed: 1.5}\n", "run.seed = 1.5 (the document, line 4): is not a whole number"),
        ("run: {seed: }\n", "run.seed (the document, line 4): is empty"),
        ("run: {timeout: soon}\n", "is not a duration: write a number of seconds, or a text such as 90s, 15m or 1h"),
        ("run: {memory: 2XB}\n", "is not a size"),
        ("run: {id: '../x'}\n", "may hold letters, digits"),
        ("name:\n", "name (the document, line 4): is empty"),
        ("name: ''\n", "is empty"),
        ("name: [a]\n", "name = ['a'] (the document, line 4): is not a text"),
        ("spark: {conf: {spark.a: [1]}}\n", "spark.conf.spark.a = [1] (the document, line 4): is not a text or a number or true or false"),
        ("storage: {path_style: 3}\n", "is neither true nor false"),
        ("storage: {checksums: always}\n", "is not one of when_required, when_supported"),
        ("storage: {endpoint: localhost:9000}\n", "is not an address: write http://host:port or https://host:port"),
        ("storage: {input: {retries: -1}}\n", "storage.input.retries = -1 (the document, line 4): must be at least 0"),
    ],
)  # fmt: skip
def test_a_mistake_says_where_it_is_and_what_would_be_right(text: str, said: str) -> None:
    assert any(said in each for each in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input.uri=http://h/b"], "is the address of a server: write s3://bucket/prefix/ here, and the address as storage.endpoint"),
        (["--input.uri=s4://b"], "has the unknown scheme s4://: known are s3://, gs://, az://, abfss://, file:// and a folder; did you mean"),
        (["--input.uri=s3:/b"], "has no bucket: write s3://bucket/prefix/"),
        (["--input.uri=s3:///x"], "has no bucket: write s3://bucket/prefix/"),
        (["--input.uri=file://x"], "write file:///absolute/folder"),
        (["--input.uri="], "input.uri (command line): is empty"),
        (["--input.only=[{a: 1}]"], "input.only[0] (command line): is not a text"),
        (["--recipe.features=[{a: 1}]"], "recipe.features[0] (command line): is not a text"),
        (["--input.match=[]"], "is an empty list and selects nothing"),
        (["--input.features", "x"], "did you mean recipe.features?"),
        (["--recipe.features=[a, 'b'"], "is not valid YAML"),
        (["--run.seed"], "--run.seed (command line): needs a value: a whole number"),
        (["--run.seed=1", "--run.seed=2"], "run.seed (command line): is given 2 times"),
        (["--recipe.estimator.steps.0.alpha=1"], "reaches into a list: give the whole of recipe.estimator"),
        (["--input.key=abc"], "has no group: put the part of the path that is the key into parentheses"),
        (["--input.key=(a"], "is not a regular expression"),
        (["--input.layout=columns"], "is required with layout 'columns'"),
        (["--recipe.validation=time"], "recipe.validation.column: is required with method 'time'"),
        (["--recipe.validation.method=holdout", "--recipe.validation.folds=3"], "folds = 3 (command line): is for method 'kfold'"),
        (["--recipe.validation.test_size=0.5"], "is for method 'holdout' and 'time'; recipe.validation.method is 'none'"),
        (["--recipe.function=m:f"], "is given beside recipe.estimator"),
        (["--input.format=xlsx"], "is not one of auto, csv, tsv, json, parquet, arrow; other formats need input.reader: spark"),
        (["--input.format.encoding=utf9"], "is not a text encoding"),
        (["--input.sample=1.5"], "is neither a fraction below 1 nor a whole number of keys"),
        (["--run.max_failed=101%"], "is neither a number of partitions nor a percentage"),
        (["--output.uri=s3://raw/x/models"], "lies inside input.uri"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused(arguments: list[str], said: str) -> None:
    assert said in problem("", *arguments)


def test_a_variable_with_one_underscore_too_few_or_in_small_letters_is_an_error() -> None:
    assert "did you mean MANYFIT_INPUT__URI?" in problem(env={"MANYFIT_INPUT_URI": "x"})
    assert "did you mean MANYFIT_RUN__SEED?" in problem(env={"manyfit_run__seed": "1"})
    assert "MANYFIT_RECIPE__ESTIMATOR={...}" in problem(env={"MANYFIT_RECIPE__ESTIMATOR__ALPHA": "1"})


def test_variables_that_kubernetes_makes_for_a_service_are_ignored() -> None:
    env = {
        "MANYFIT_UI_SVC_SERVICE_HOST": "10.0.0.1",
        "MANYFIT_UI_SVC_SERVICE_PORT": "4040",
        "MANYFIT_UI_SVC_SERVICE_PORT_HTTP": "4040",
        "MANYFIT_UI_SVC_PORT": "tcp://10.0.0.1:4040",
        "MANYFIT_UI_SVC_PORT_4040_TCP": "tcp://10.0.0.1:4040",
        "MANYFIT_UI_SVC_PORT_4040_TCP_ADDR": "10.0.0.1",
    }
    assert loaded(env=env).settings.name == "manyfit"
    del env["MANYFIT_UI_SVC_SERVICE_HOST"]
    assert len(problems(env=env)) == 5


def test_a_file_that_is_not_there_is_answered_with_one_that_is(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(MINIMAL)
    with pytest.raises(ConfigurationError, match=r"jop\.yaml: does not exist .*did you mean .*job\.yaml\?"):
        load(file=str(tmp_path / "jop.yaml"), env={})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(file=str(tmp_path), env={})
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text: byte 6"):
        load(file=str(tmp_path / "latin.yaml"), env={})


def test_a_file_that_cannot_be_read_hides_no_mistake_elsewhere_and_makes_up_none() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(file="/nowhere/job.yaml", argv_overrides=["--run.seed=x"], env={})
    assert [each.split(" ")[0] for each in caught.value.problems] == ["/nowhere/job.yaml:", "run.seed"]


# -- credentials

SECRETS = [
    "storage: {secret_key: hunter2hunter2}",
    "storage: {access_key: hunter2hunter2}",
    "aws_secret_access_key: hunter2hunter2",
    "password: hunter2hunter2",
    "token: hunter2hunter2",
    "spark: {conf: {spark.hadoop.fs.s3a.secret.key: hunter2hunter2}}",
    "spark: {conf: {spark.hadoop.fs.s3a.session.token: hunter2hunter2}}",
    "spark: {conf: {spark.authenticate.secret: hunter2hunter2}}",
    "spark: {conf: {spark.hadoop.fs.azure.account.key.x.dfs.core.windows.net: hunter2hunter2}}",
    "input2: {uri: 's3://key:hunter2hunter2@b/'}",
    "storage: {endpoint: 'https://u:hunter2hunter2@h:9000'}",
    "name: 'https://h/b?X-Amz-Signature=hunter2hunter2'",
    "run: {id: AKIAIOSFODNN7HUNTER2}",
    "output2: {nested: {password: hunter2hunter2}}",
    "name: |\n  -----BEGIN PRIVATE KEY-----\n  hunter2hunter2\n",
    "spark: {conf: {spark.x: the-environments-own-secret}}",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_credential_is_refused_and_never_shown(text: str) -> None:
    env = {"AWS_SECRET_ACCESS_KEY": "the-environments-own-secret"}
    with pytest.raises(ConfigurationError) as caught:
        loaded(text, env=env)
    said = str(caught.value) + repr(caught.value.problems)
    for secret in ("hunter2", "HUNTER2", "own-secret"):
        assert secret not in said


def test_a_path_is_no_credential_whatever_the_variable_is_called(tmp_path: Path) -> None:
    """Each shell sets PWD and OLDPWD; a token may be a file."""
    file = tmp_path / "the-token-of-this-service"
    file.write_text("x")
    gone = "/a/folder/that/was/removed"
    env = {"PWD": gone, "OLDPWD": str(tmp_path), "TOKEN": str(file)}
    for folder in (gone, str(tmp_path), str(file)):
        assert loaded("", f"--input.uri={folder}/in", env=env).settings.input.uri == f"{folder}/in"


@pytest.mark.parametrize("name", ["PASSWORD", "MY_PWD", "TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_a_credential_that_looks_like_a_path_is_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match="credential"):
        loaded("name: x/wJalrXUtnFEMI/K7MDENG", env={name: "/wJalrXUtnFEMI/K7MDENG"})


def with_estimator(text: str) -> str:
    return f"input: {{uri: in}}\nrecipe: {{target: y, estimator: {text}}}\noutput: {{uri: out}}\n"


def test_a_mapping_of_classes_reaches_the_recipe_with_their_types_from_each_source() -> None:
    weights = {0: 1.0, 1: 5.0}
    estimator = "{_target_: sklearn.linear_model.LogisticRegression, class_weight: {0: 1.0, 1: 5.0}}"
    asjson = json.dumps({"_target_": "sklearn.linear_model.LogisticRegression", "class_weight": weights})
    for found in (
        load(document=with_estimator(estimator), env={}),
        loaded("", f"--recipe.estimator={estimator}"),
        loaded("", f"--recipe.estimator={asjson}"),
        load(document=json.dumps(load(document=with_estimator(estimator), env={}).to_document()), env={}),
    ):
        assert found.settings.recipe.estimator is not None
        assert found.settings.recipe.estimator["class_weight"] == weights


@pytest.mark.parametrize(
    "uri", ["s3://key:hunter2@b/x", "s3://hunter2@b/x", "https://h/b?sig=hunter2", "s3://a%3Ahunter2@b/"]
)
def test_a_uri_with_a_credential_is_refused_from_every_source(uri: str) -> None:
    for options in ({"argv_overrides": [f"--input.uri={uri}"], "env": {}}, {"env": {"MANYFIT_INPUT__URI": uri}}):
        with pytest.raises(ConfigurationError) as caught:
            load(document=MINIMAL, **options)
        assert "hunter2" not in str(caught.value)
        assert "credential" in str(caught.value)


def test_a_value_that_is_a_credential_is_not_shown_by_any_mistake() -> None:
    assert show("s3://key:hunter2@b") == show(["AKIAIOSFODNN7EXAMPLE"]) == HIDDEN
    assert "hunter2" not in str(Mistake(path="s3://a:hunter2@b", what="is wrong"))
    assert show("x" * 200) == f"'{'x' * 76}..."


def test_names_that_only_look_like_credentials_are_settings() -> None:
    found = loaded(
        "spark: {conf: {spark.authenticate.secret.file: /s, spark.kubernetes.driver.secrets.x: /y, "
        "spark.kubernetes.driver.secretKeyRef.A: 'n:k'}}\n",
        "--input.schema={token: string, password: string}",
        "--recipe.features=[password, api_key]",
        "--recipe.estimator={_target_: a.TfidfVectorizer, token_pattern: x, tokenizer: null}",
        "--output.uri=abfss://container@account.dfs.core.windows.net/x",
    )
    assert found.settings.input.schema_ == {"token": "string", "password": "string"}


# -- the document


def test_the_document_is_the_same_for_equal_settings_however_they_were_given() -> None:
    given = loaded("run: {seed: 5}\n", "--input.limit=3")
    other = loaded("", "--run.seed=5", env={"MANYFIT_INPUT__LIMIT": "3"})
    assert given.to_document(defaults=False) == other.to_document(defaults=False)
    assert given.to_document(defaults=False)["run"] == {"seed": 5}


def test_the_document_reads_back_as_the_same_settings() -> None:
    found = loaded(
        "",
        "--recipe.estimator={_target_: a.B, tol: .inf, n: [1, null]}",
        "--input.schema={a: int64}",
        "--run.memory=2GB",
    )
    again = load(document=json.dumps(found.to_document()), env={}).settings
    assert again.input == found.settings.input
    assert to_document(again) == found.to_document()
    assert '"tol": ".inf"' in json.dumps(found.to_document())


def test_the_result_is_plain_settings() -> None:
    assert type(loaded().settings) is JobSettings
    assert loaded().settings == JobSettings.model_validate(loaded().to_document())


# -- storage alone


def test_commands_without_a_job_take_storage_settings_and_nothing_is_required() -> None:
    env = {"MANYFIT_STORAGE__REGION": "eu-west-1", "MANYFIT_NAME": "x"}
    found = load_storage(argv_overrides=["--storage.output.endpoint", "http://h:1"], env=env)
    assert (found.side("output").endpoint, found.side("input").endpoint, found.region) == (
        "http://h:1",
        None,
        "eu-west-1",
    )
    assert load_storage(env={}) == type(found)()


def test_commands_without_a_job_report_mistakes_too() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_storage(argv_overrides=["--storage.endpont=x", "--storage.retries=many"], env={})
    assert len(caught.value.problems) == 2
