"""Continuous integration does not pass by leaving things out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import built

ROOT = Path(__file__).resolve().parents[2]

SKIPS = {
    "in-a-test": "import pytest\ndef test_it():\n    pytest.skip('helm is not there')\n",
    "by-a-mark": "import pytest\n@pytest.mark.skip(reason='helm is not there')\ndef test_it(): pass\n",
    "in-a-fixture": (
        "import pytest\n@pytest.fixture\ndef helm(): pytest.skip('helm is not there')\ndef test_it(helm): pass\n"
    ),
    "of-a-file": "import pytest\npytest.importorskip('helm_is_not_there')\ndef test_it(): pass\n",
}


def played(folder: Path, text: str, ci: str) -> subprocess.CompletedProcess[str]:
    """Pytest on one file, with the two hooks."""
    (folder / "test_it.py").write_text(text)
    (folder / "conftest.py").write_text("from tests.support.skips import *\n")
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        ".",
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", SKIPS)
def test_a_skip_because_something_is_missing_is_an_error_in_ci_and_nowhere_else(how: str, tmp_path: Path) -> None:
    here = played(tmp_path, SKIPS[how], "")
    assert "1 skipped" in here.stdout

    done = played(tmp_path, SKIPS[how], "true")
    assert done.returncode != 0
    assert re.search("skipped, and CI is set: .*helm.is.not.there", done.stdout)


def test_a_test_that_has_no_meaning_here_may_be_skipped_everywhere(tmp_path: Path) -> None:
    text = "import pytest\ndef test_it():\n    pytest.skip('does not apply: root may read everything')\n"
    done = played(tmp_path, text, "true")
    assert (done.returncode, "1 skipped" in done.stdout) == (0, True)


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    done = played(tmp_path, "import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert False\n", "true")
    assert (done.returncode, "1 xfailed" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"E2E_CACHE": "/tools", "XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/tools"),
        ({"XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/cache/manyfit"),
        ({"HOME": "/home/me"}, "/home/me/.cache/manyfit"),
    ],
)
def test_tests_look_for_tools_where_they_are_built(environ: dict[str, str], expected: str) -> None:
    code = "import place; print(place.CACHE)"
    builder = subprocess.run(
        [sys.executable, "-c", code], cwd=built.CLUSTER, env=environ, capture_output=True, text=True, check=True
    )
    assert builder.stdout.strip() == expected == str(built.cache(environ))


def test_a_built_helm_is_found_in_the_users_own_cache_folder(tmp_path: Path) -> None:
    helm = tmp_path / "manyfit/bin/helm"
    helm.parent.mkdir(parents=True)
    helm.write_text("")
    environ = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/nowhere"}
    assert built.find_helm(environ) == str(helm)
    assert built.find_helm({**environ, "HELM": "/mine"}) == "/mine"


def test_the_place_of_the_cache_is_spelt_in_one_file() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("tests", "benchmarks", "deploy")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__) and re.search(r"(get\(|\[)\"E2E_CACHE\"", path.read_text())
    ]
    assert readers == ["tests/e2e/cluster/place.py"]


@pytest.mark.parametrize("step", ["chart", "e2e"])
def test_a_step_that_cannot_run_ends_ci_at_once_unless_it_is_left_out_by_name(step: str, tmp_path: Path) -> None:
    for name in ("bash", "dirname", "uname", "id", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    (tmp_path / "make").write_text('#!/bin/sh\necho "made $*"\n')
    (tmp_path / "make").chmod(0o755)
    other = "e2e" if step == "chart" else "chart"

    def run(without: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(tmp_path), "CI_WITHOUT": without}
        return subprocess.run(
            ["bash", str(ROOT / ".ci/run")], env=environment, capture_output=True, text=True, check=False
        )

    done = run(other)
    assert done.returncode == 3
    assert f"ci: {step} cannot run here" in done.stderr
    assert "made" not in done.stdout

    done = run(f"{step} {other}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(f"WITHOUT {step} {other}")
    assert "made test" in done.stdout


def test_the_guards_limit_is_the_same_wherever_it_is_told() -> None:
    limit = re.search(r"(?m)^GUARD := (\S+)$", (ROOT / "Makefile").read_text())
    assert limit
    told = {
        "Makefile": rf"fail if a run costs more than {limit[1]} times",
        "docs/explanation/benchmarks.md": rf"make bench-guard .*fail above {limit[1]} times",
        "CHANGELOG.md": rf"`make bench-guard`.*at most {limit[1]} times",
    }
    assert [file for file, text in told.items() if not re.search(text, (ROOT / file).read_text())] == []
