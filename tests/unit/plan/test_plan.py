"""The plan: what is trained and why, and who trains it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.arrow import digest_column, digest_letters
from job.config.settings import InputSettings
from job.errors import InputError
from job.plan.compare import INDEX_COLUMNS, Fingerprints
from job.plan.fingerprint import data_fingerprint
from job.plan.packing import number_of_small_tasks, number_of_tasks, pack
from job.plan.plan import Plan, make
from job.plan.selection import select
from job.reader.spec import VERSION
from tests.support.listings import listing

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TYPES = {"reading": pa.int64(), "seconds": pa.float64(), "gone_since": pa.timestamp("us", "UTC")}


def index(**rows: dict[str, Any]) -> pa.Table:
    columns = INDEX_COLUMNS
    defaults = {
        "state": "live",
        "recipe": "r",
        "environment": "e",
        "content": "c",
        "digest": "d",
        "seconds": 1.0,
        "reading": VERSION,
    }
    full = [{**defaults, "key": key, **row} for key, row in rows.items()]
    schema = pa.schema([(name, TYPES.get(name, pa.string())) for name in columns])
    return pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in full], schema=schema)


def finished(*rows: dict[str, Any]) -> pa.Table:
    names = ("key", "data", "recipe", "environment", "digest")
    schema = pa.schema([*((name, pa.string()) for name in names), ("reading", pa.int64())])
    return pa.Table.from_pylist([{"reading": VERSION, **row} for row in rows], schema=schema)


def made(
    names: list[str], published: pa.Table, done: pa.Table | None = None, retrain: Sequence[str] = (), **settings: Any
) -> Plan:
    selected = select(listing(*names), InputSettings(uri="memory://x", **settings), seed=0)
    fingerprints = Fingerprints(recipe="r", environment="e")
    done = finished() if done is None else done
    return make(selected, [published], done, fingerprints, listed_at=NOW, retrain=retrain)


def data(name: str, at: int) -> str:
    return data_fingerprint([(name, 10 + at, f"e{at}")])


def why(plan: Plan) -> dict[str, tuple[str, str]]:
    return {row["key"]: (row["action"], row["why"]) for row in plan.keys.to_pylist()}


def test_each_key_has_the_reason_for_which_it_is_trained() -> None:
    names = [f"{key}.csv" for key in "abcdefghi"]
    published = index(
        a={"data": data("a.csv", 0)},
        b={"data": "older"},
        c={"data": data("c.csv", 2), "recipe": "other"},
        d={"data": data("d.csv", 3), "environment": "other"},
        e={"data": "", "state": "failed"},
        f={"data": data("f.csv", 5), "state": "stale"},
        g={"data": data("g.csv", 6), "state": "skipped"},
        i={"data": data("i.csv", 8), "reading": None},
    )

    assert why(made(names, published)) == {
        "a": ("unchanged", "unchanged"),
        "b": ("train", "data"),
        "c": ("train", "recipe"),
        "d": ("train", "environment"),
        "e": ("train", "failed"),
        "f": ("train", "failed"),
        "g": ("skip", "skipped"),
        "h": ("train", "new"),
        "i": ("train", "reading"),
    }


def test_a_key_of_run_retrain_is_trained_whatever_is_known_of_it_and_no_digest_saves_its_fit() -> None:
    names = [f"{key}.csv" for key in "abcde"]
    published = index(
        a={"data": data("a.csv", 0)},
        b={"data": "older", "content": "of b"},
        c={"data": data("c.csv", 2), "state": "skipped"},
        e={"data": data("e.csv", 4)},
    )
    done = finished({"key": "d", "data": data("d.csv", 3), "recipe": "r", "environment": "e", "digest": "d"})

    plan = made(names, published, done, retrain=["a", "b", "c", "d"])

    assert why(plan) == {**dict.fromkeys("abcd", ("train", "retrain")), "e": ("unchanged", "unchanged")}
    assert plan.keys["content"].to_pylist() == [None] * 5


def test_run_retrain_names_no_key_that_the_input_does_not_have() -> None:
    with pytest.raises(InputError, match=r"run\.retrain names a key that does not exist: 'shop-l'") as caught:
        made(["shop-1.csv"], index(), retrain=["shop-l"])

    assert caught.value.hint == "Did you mean 'shop-1'?"


def test_a_skipped_key_whose_data_changed_is_tried_again() -> None:
    assert why(made(["a.csv"], index(a={"data": "older", "state": "skipped"})))["a"] == ("train", "data")


def test_work_that_an_unfinished_run_finished_is_taken_over_if_everything_agrees() -> None:
    row = {"key": "a", "data": data("a.csv", 0), "recipe": "r", "environment": "e", "digest": "d"}

    assert why(made(["a.csv"], index(), finished(row)))["a"] == ("adopt", "finished")
    for changed in ("data", "recipe", "environment"):
        assert why(made(["a.csv"], index(), finished({**row, changed: "other"})))["a"] == ("train", "new")


def test_keys_that_a_complete_listing_no_longer_has_are_gone_and_a_filter_makes_none_gone() -> None:
    published = index(a={"data": "x"}, z={"data": "x"})

    assert made(["a.csv"], published).gone.to_pylist() == ["z"]
    assert made(["a.csv", "b.csv"], published, limit=1).gone.to_pylist() == []


def test_the_published_table_may_come_in_slices_of_any_size_and_order() -> None:
    names = [f"{key}.csv" for key in "abcdef"]
    published = index(
        z={"data": "x"},
        d={"data": "older", "content": "of d"},
        b={"data": data("b.csv", 1), "gone_since": NOW},
        a={"data": "older", "content": "of a", "seconds": 7.0},
        e={"data": data("e.csv", 4), "seconds": None},
        y={"data": "x", "gone_since": NOW},
    )
    selected = select(listing(*names), InputSettings(uri="memory://x"), seed=0)
    plans = [
        make(
            selected,
            [published.slice(begin, size) for begin in range(0, 6, size)],
            finished(),
            Fingerprints(recipe="r", environment="e"),
            listed_at=NOW,
        )
        for size in (6, 4, 1)
    ]

    assert why(plans[0])["d"] == ("train", "data")
    assert plans[0].keys["content"].to_pylist() == ["of a", None, None, "of d", None, None]
    assert plans[0].keys["cost"][0].as_py() == 7.0
    assert [each.keys.to_pylist() for each in plans] == [plans[0].keys.to_pylist()] * 3
    for each in plans:
        assert (sorted(each.gone.to_pylist()), each.returned.to_pylist(), each.published) == (["y", "z"], ["b"], 6)


def test_of_several_outcomes_of_a_key_one_that_agrees_is_enough_to_take_it_over() -> None:
    row = {"key": "b", "data": data("b.csv", 1), "recipe": "r", "environment": "e", "digest": "d"}
    others = [{**row, "data": "other"}, row, {**row, "data": "third"}, {**row, "key": "unknown"}]

    assert why(made(["a.csv", "b.csv"], index(), finished(*others))) == {
        "a": ("train", "new"),
        "b": ("adopt", "finished"),
    }


@given(st.lists(st.binary(min_size=32, max_size=32)), st.integers(0, 3))
def test_digests_in_memory_are_the_letters_of_the_store(values: list[bytes], skipped: int) -> None:
    held = digest_column(b"".join(values)).slice(skipped)

    assert digest_letters(held).to_pylist() == [each.hex() for each in values[skipped:]]


def test_a_key_that_was_gone_and_is_here_again_is_returned() -> None:
    plan = made(["a.csv"], index(a={"data": data("a.csv", 0), "gone_since": NOW}))

    assert plan.returned.to_pylist() == ["a"]
    assert plan.count("unchanged") == 1


def test_the_content_digest_is_only_used_where_the_recipe_and_environment_are_the_same() -> None:
    plan = made(["a.csv", "b.csv"], index(a={"data": "older"}, b={"data": "older", "recipe": "other"}))

    assert plan.keys["content"].to_pylist() == ["c", None]


def test_the_objects_of_a_hive_key_are_fingerprinted_together() -> None:
    plan = made(["s=1/a.csv", "s=1/b.csv", "s=2/a.csv"], index(), layout="hive")

    rows = plan.keys.to_pylist()
    assert [(row["key"], row["count"], row["bytes"]) for row in rows] == [("s=1", 2, 21), ("s=2", 1, 12)]
    assert rows[0]["data"].hex() == data_fingerprint([("s=1/a.csv", 10, "e0"), ("s=1/b.csv", 11, "e1")])


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=60), st.integers(1, 8))
def test_packing_stays_within_grahams_bound_of_the_best_possible(costs: list[float], tasks: int) -> None:
    tasks = min(tasks, len(costs))
    assigned = pack(costs, tasks)

    loads = np.bincount(assigned, weights=costs, minlength=tasks)
    # no schedule can beat the average load, nor the largest item
    assert loads.max() <= max(sum(costs) / tasks + max(costs) * (1 - 1 / tasks), max(costs)) * (1 + 1e-9)
    assert set(assigned.tolist()) <= set(range(tasks))
    assert assigned[int(np.argmax(costs))] == 0


@pytest.mark.parametrize(
    ("seconds", "keys", "cores", "local", "tasks"),
    [
        (2.0, 400, 2, True, 2),
        (2.0, 400, 2, False, 4),
        (2.0, 1, 8, False, 1),
        (1200.0, 400, 2, True, 20),
        (100.0, 400, 2, True, 8),
    ],
)
def test_tasks_are_few_and_long_but_never_fewer_than_cores_can_use(
    seconds: float, keys: int, cores: int, local: bool, tasks: int
) -> None:
    assert number_of_tasks([seconds / keys] * keys, cores, local=local) == tasks


@pytest.mark.parametrize(
    ("seconds", "keys", "cores", "tasks"),
    [(0.6, 142, 2, 4), (0.6, 3, 2, 3), (8.0, 400, 2, 16), (600.0, 400, 2, 64), (36000.0, 100_000, 2, 600)],
)
def test_small_tasks_are_half_a_second_and_a_minute_where_there_would_be_too_many(
    seconds: float, keys: int, cores: int, tasks: int
) -> None:
    assert number_of_small_tasks([seconds / keys] * keys, cores) == tasks


# ---- what is gone


def test_a_published_key_that_the_input_has_and_match_leaves_out_is_not_gone() -> None:
    published = index(a={"data": data("a.csv", 0)}, b={"data": "x"}, c={"data": "x"})
    plan = made(["a.csv", "b.txt"], published, match="*.csv")
    assert plan.gone.to_pylist() == ["c"]
    assert not plan.complete, "nothing is said of b, which was not looked at"
    assert not plan.filtered


def test_a_plan_is_complete_if_all_of_the_input_was_looked_at() -> None:
    published = index(a={"data": data("a.csv", 0)}, c={"data": "x"})
    plan = made(["a.csv"], published)
    assert (plan.complete, plan.filtered, plan.gone.to_pylist()) == (True, False, ["c"])


@pytest.mark.parametrize("narrower", [{"only": ["a"]}, {"limit": 1}])
def test_nothing_is_gone_where_only_a_part_was_asked_for(narrower: dict[str, Any]) -> None:
    published = index(a={"data": data("a.csv", 0)}, c={"data": "x"})
    plan = made(["a.csv", "b.csv"], published, **narrower)
    assert (plan.complete, plan.filtered, plan.gone.to_pylist()) == (False, True, [])


def test_fingerprints_and_finished_outcomes_are_the_same_in_slices_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"k={key}/{part}.csv" for key in "abcdefg" for part in range(1 + "abcdefg".index(key) % 3)]
    whole = made(names, index(), layout="hive").keys
    by_key = dict(
        zip(whole["key"].to_pylist(), digest_letters(whole["data"].combine_chunks()).to_pylist(), strict=True)
    )
    done = [
        {"key": key, "data": by_key[key], "recipe": "r", "environment": "e", "digest": "d"}
        for key in ("k=b", "k=f", "k=g")
    ]
    one_piece = why(made(names, index(), finished(*done), layout="hive"))
    assert [key for key, (action, _) in one_piece.items() if action == "adopt"] == ["k=b", "k=f", "k=g"]
    monkeypatch.setattr("job.plan.plan._SLICE", 2)
    sliced = made(names, index(), finished(*done), layout="hive")
    assert sliced.keys["data"].to_pylist() == whole["data"].to_pylist()
    assert why(sliced) == one_piece


@pytest.mark.parametrize("name", ["recipe", "environment"])
def test_a_published_key_without_a_fingerprint_is_trained(name: str) -> None:
    assert why(made(["a.csv"], index(a={"data": data("a.csv", 0), name: None})))["a"][0] == "train"
