"""Keys, paths, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.keys import hive_columns, hive_key, key_of_columns, key_path, model_name
from tests.support.names import is_hidden, object_key

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("df1.csv.gz", "df1"),
        ("Congo, Dem. Rep..csv.gz", "Congo, Dem. Rep."),
        ("a/b.parquet", "a/b"),
        ("plain", "plain"),
        ("a.tar.csv", "a.tar"),
        ("X.CSV.GZ", "X"),
        ("a/.csv.gz", "a/.csv"),
        ("gz.gz", "gz"),
        ("v1.2.jsonl.zst", "v1.2"),
        ("100%=.csv", "100%="),
    ],
)
def test_the_key_of_an_object_is_its_path_less_one_compression_and_one_format_suffix(name: str, key: str) -> None:
    assert object_key(name) == key


def test_hive_directories_give_the_key_and_the_columns_with_nulls() -> None:
    columns = hive_columns("store=1/item=a%2Fb/day=__HIVE_DEFAULT_PARTITION__/part-0.parquet")

    assert columns == {"store": "1", "item": "a/b", "day": None}
    assert hive_key(columns, ["store", "item"]) == "store=1/item=a%2Fb"
    assert hive_key(columns, ["day"]) == "day=__HIVE_DEFAULT_PARTITION__"


@given(st.dictionaries(TEXT, st.one_of(st.none(), TEXT), min_size=1, max_size=3))
def test_key_columns_round_trip_through_the_key(values: dict[str, str | None]) -> None:
    key = key_of_columns(values)

    if "__HIVE_DEFAULT_PARTITION__" not in values.values():
        assert hive_columns(key + "/object") == values


@given(st.lists(TEXT, min_size=2, max_size=2, unique=True))
def test_two_keys_never_share_a_model_path(keys: list[str]) -> None:
    assert key_path(keys[0]) != key_path(keys[1])


@given(TEXT)
def test_a_model_path_has_no_segment_that_a_store_could_misread(key: str) -> None:
    for part in key_path(key).split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= 200
        assert part == part.strip()
        assert not part.startswith(".")


def test_safe_keys_stay_readable_in_the_path() -> None:
    assert model_name("store=1/item 2", "ab" * 32) == "models/store=1/item 2/" + "ab" * 32 + ".joblib"


@pytest.mark.parametrize("name", ["a/", "_SUCCESS", "x/_temporary/0", ".hidden", "a/.b/c", ""])
def test_markers_and_hidden_files_are_hidden(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["a", "_col=1/x.csv", "a_b/c", "a.csv"])
def test_data_is_not_hidden(name: str) -> None:
    assert not is_hidden(name)
