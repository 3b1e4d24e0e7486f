"""Which engine a job runs on, by its settings and by where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from job.config.settings import JobSettings
from job.engine.choice import choose, default_master


def settings(**sections: Any) -> JobSettings:
    return JobSettings.model_validate(
        {
            "recipe": {"function": "m:f"},
            "output": {"uri": "/out"},
            **sections,
            "input": {"uri": "/in", **sections.get("input", {})},
        }
    )


@pytest.mark.parametrize(
    ("sections", "environ", "engine"),
    [
        ({}, {}, "local"),
        ({"input": {"layout": "hive"}}, {}, "local"),
        ({}, {"JAVA_HOME": "/java", "SPARK_HOME": "/nothing/there"}, "local"),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "local"),
        ({}, {"PYSPARK_GATEWAY_PORT": "1"}, "spark"),
        ({"run": {"application": "nightly"}}, {}, "spark"),
        ({"spark": {"master": "local[2]"}}, {}, "spark"),
        ({"spark": {"conf": {"spark.executor.memory": "2g"}}}, {}, "spark"),
        ({"input": {"reader": "spark"}}, {}, "spark"),
        ({"input": {"layout": "columns", "key": "k"}}, {}, "local"),
        ({"spark": {"master": "inline"}}, {"PYSPARK_GATEWAY_PORT": "1"}, "inline"),
        ({"run": {"engine": "inline"}}, {}, "inline"),
        ({"run": {"engine": "spark"}}, {}, "spark"),
        ({"run": {"engine": "local"}, "spark": {"master": "k8s://here"}}, {"PYSPARK_GATEWAY_PORT": "1"}, "local"),
    ],
)
def test_a_job_runs_on_spark_where_something_names_it_and_on_this_machine_elsewhere(
    sections: dict[str, Any], environ: dict[str, str], engine: str
) -> None:
    assert choose(settings(**sections), environ) == engine


@pytest.mark.parametrize(
    ("text", "master"),
    [
        ("spark.master  yarn\n", "yarn"),
        ("# spark.master yarn\nspark.driver.memory 4g\n", None),
        ("spark.master=spark://first:7077\nspark.master: spark://last:7077\n", "spark://last:7077"),
    ],
)
@pytest.mark.parametrize("variable", ["SPARK_CONF_DIR", "SPARK_HOME"])
def test_the_master_of_sparks_defaults_names_a_cluster(
    tmp_path: Path, variable: str, text: str, master: str | None
) -> None:
    folder = tmp_path / ("conf" if variable == "SPARK_HOME" else "")
    folder.mkdir(exist_ok=True)
    (folder / "spark-defaults.conf").write_text(text)
    environ = {variable: str(tmp_path)}

    assert default_master(environ) == master
    assert choose(settings(), environ) == ("spark" if master else "local")


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_a_table_needs_no_spark(engine: str) -> None:
    assert choose(settings(input={"layout": "columns", "key": "k"}, run={"engine": engine}), {}) == engine


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"run": {"engine": "local"}, "spark": {"master": "inline"}}, "spark.master is 'inline'"),
        ({"run": {"engine": "local"}, "input": {"reader": "spark"}}, "input.reader is 'spark'"),
    ],
)
def test_settings_that_name_two_engines_are_a_mistake(sections: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings(**sections)
