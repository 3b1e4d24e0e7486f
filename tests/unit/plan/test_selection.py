"""From a listing to keys, and the choice among them."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.config.settings import InputSettings
from job.errors import ConfigurationError, InputError
from job.plan.globs import pattern
from job.plan.selection import Selected, select
from tests.support.listings import listing
from tests.support.names import is_hidden, object_key

PATHS = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=12),
    min_size=1,
    max_size=3,
).map("/".join)


def chosen(names: list[str], **settings: Any) -> Selected:
    return select(listing(*names), InputSettings(uri="memory://x", **settings), seed=0)


def keys(selected: Selected) -> list[str]:
    return sorted(set(selected.objects["key"].to_pylist()))


@settings(deadline=None)
@given(PATHS)
def test_the_column_rule_for_keys_and_hidden_names_is_the_rule_for_one_name(name: str) -> None:
    if is_hidden(name):
        with pytest.raises(InputError):
            chosen([name])
    else:
        assert keys(chosen([name])) == [object_key(name)]


def test_markers_are_ignored_and_counted() -> None:
    selected = chosen(["a.csv", "_SUCCESS", "b/", ".x"])

    assert keys(selected) == ["a"]
    assert selected.ignored == 3
    assert selected.complete


def test_two_objects_with_one_key_are_an_input_error_that_names_both() -> None:
    with pytest.raises(InputError, match=r"'a'.*'a\.csv'.*'a\.csv\.gz'"):
        chosen(["a.csv", "a.csv.gz"])


def test_a_match_glob_leaves_objects_out_whose_keys_are_neither_planned_nor_gone() -> None:
    selected = chosen(["a.csv", "a.txt", "d/b.csv"], match="*.csv")

    assert keys(selected) == ["a"]
    assert selected.unmatched == 2
    assert selected.complete
    assert sorted(selected.elsewhere.to_pylist()) == ["a", "d/b"]


def test_what_has_no_key_is_left_out_without_a_word() -> None:
    hive = chosen(["s=1/a.csv", "s=2/a.csv", "readme.txt"], match="s=1/*", layout="hive")
    assert hive.elsewhere.to_pylist() == ["s=2"]
    named = chosen(["a-1.csv", "a-2.csv", "readme.txt"], match="*-1.csv", key=r"-(\d)")
    assert named.elsewhere.to_pylist() == ["2"]


def test_marks_of_folders_are_ignored_and_counted() -> None:
    emr = chosen(["s=1_$folder$", "s=1/a.csv", "s=2_$folder$", "s=2/a.csv", "in_$folder$"], layout="hive")
    assert (keys(emr), emr.ignored) == (["s=1", "s=2"], 3)

    names = ["s=1", "s=1/m=1", "s=1/m=1/a.csv", "s=2/m=1/a.csv"]
    marked = listing(*names).set_column(1, "size", pa.array([0, 0, 5, 0], pa.int64()))
    azure = select(marked, InputSettings(uri="memory://x", layout="hive"), seed=0)
    assert (keys(azure), azure.ignored) == (["s=1/m=1", "s=2/m=1"], 2)


def test_nothing_that_matches_is_an_input_error_that_tells_the_counts() -> None:
    with pytest.raises(InputError, match=r"2 listed, 1 of them hidden or markers, 1 not matched"):
        chosen(["a.csv", "_SUCCESS"], match="*.parquet")


def test_the_key_expression_takes_its_group() -> None:
    assert keys(chosen(["2026/shop-7/x.csv", "2026/shop-9/x.csv"], key=r"shop-(\d+)")) == ["7", "9"]
    assert keys(chosen(["2026/shop-7/x.csv"], key=r"(\d+)/(?P<key>[^/]+)")) == ["shop-7"]


def test_a_path_that_the_key_expression_does_not_match_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"other\.csv"):
        chosen(["shop-7.csv", "other.csv"], key=r"shop-(\d+)")


def test_hive_levels_form_the_key_and_deeper_levels_belong_to_it() -> None:
    names = ["s=1/i=1/p0.csv", "s=1/i=2/p0.csv", "s=2/i=1/d=3/p0.csv"]

    assert keys(chosen(names[:2], layout="hive")) == ["s=1/i=1", "s=1/i=2"]
    assert keys(chosen(names, layout="hive", keys=["s"])) == ["s=1", "s=2"]


def test_a_path_without_the_named_hive_level_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"item="):
        chosen(["s=1/p.csv"], layout="hive", keys=["s", "item"])


def test_include_exclude_only_limit_choose_among_keys() -> None:
    names = ["a/x.csv", "a/y.csv", "b/x.csv"]

    assert keys(chosen(names, include=["a/*"])) == ["a/x", "a/y"]
    assert keys(chosen(names, include=["a/**"], exclude=["**/y"])) == ["a/x"]
    assert keys(chosen(names, only=["b/x"])) == ["b/x"]
    assert keys(chosen(names, limit=2)) == ["a/x", "a/y"]
    assert not chosen(names, limit=2).complete


def test_only_names_a_key_that_does_not_exist_with_the_nearest_that_does() -> None:
    with pytest.raises(InputError, match="'Rwonda'") as caught:
        chosen(["Rwanda.csv", "Oman.csv"], only=["Rwonda"])

    assert "Rwanda" in caught.value.hint

    with pytest.raises(InputError, match="2 keys that do not exist: 'Rwonda', 'Omann'") as caught:
        chosen(["Rwanda.csv", "Oman.csv", "Mali.csv"], only=["Rwonda", "Mali", "Omann"])
    assert caught.value.hint == "Did you mean 'Rwanda', 'Oman'?"


def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    names = [f"k{n:03d}.csv" for n in range(200)]
    wanted = InputSettings(uri="memory://x", sample=0.1)

    first = select(listing(*names), wanted, seed=1).objects["key"].to_pylist()
    assert len(first) == 20
    assert first == select(listing(*reversed(names)), wanted, seed=1).objects["key"].to_pylist()
    assert first != select(listing(*names), wanted, seed=2).objects["key"].to_pylist()
    assert len(keys(chosen(names, sample=7))) == 7


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "d/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "d/e/a.csv", True),
        ("d/**", "d/e/a.csv", True),
        ("a?.csv", "ab.csv", True),
        ("a?.csv", "a/.csv", False),
        ("[ab].csv", "b.csv", True),
        ("[!ab].csv", "b.csv", False),
        ("a+b(1).csv", "a+b(1).csv", True),
    ],
)
def test_only_two_stars_cross_a_slash(glob: str, path: str, matches: bool) -> None:
    assert bool(re.fullmatch(pattern([glob]), path)) is matches


@pytest.mark.parametrize("layout", ["objects", "hive"])
def test_files_of_a_table_format_are_refused_unless_they_are_wanted_as_they_lie(layout: str) -> None:
    names = ["_delta_log/00000000000000000000.json", "s=1/part-0.parquet", "s=1/part-1.parquet"]
    with pytest.raises(InputError, match="table in the Delta format") as caught:
        chosen(names, layout=layout)
    assert "format: delta" in caught.value.hint
    assert "input.table_files: read" in caught.value.hint
    assert chosen(names, layout=layout, table_files="read").objects.num_rows == 2
    assert chosen([f"t/{each}" for each in names] + ["s=1/a.csv"], layout=layout, match="s=*/*").objects.num_rows == 1


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("d[!x]a.csv", "d/a.csv", False),
        ("d[!x]a.csv", "dya.csv", True),
        ("d[!x]a.csv", "dxa.csv", False),
        ("d[/]a.csv", "d/a.csv", False),
        ("d[+-9]a.csv", "d/a.csv", False),
        ("d[+-9]a.csv", "d5a.csv", True),
        ("d[a-c]a.csv", "dba.csv", True),
        ("d[]-]a.csv", "d-a.csv", True),
        ("[ab]/*", "b/c", True),
    ],
)
def test_a_class_of_characters_never_crosses_a_slash(glob: str, path: str, matches: bool) -> None:
    for found in (
        re.fullmatch(pattern([glob]), path) is not None,
        pc.match_substring_regex(path, "^" + pattern([glob]) + "$").as_py(),
    ):
        assert found == matches
