"""``format: delta`` read by the tasks themselves: the rows of one version, and nothing else that lies in the folder."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from job.config.settings import JobSettings
from job.errors import ConfigurationError, InputError
from job.plan import table_files
from tests.support.folder_job import Job, counts


class Table(Job):
    """A Delta table by store."""

    def settings(self, **sections: Any) -> JobSettings:
        given = {"layout": "columns", "key": "store", "format": "delta", **sections.pop("input", {})}
        return super().settings(input=given, **sections)

    def slopes(self) -> dict[str, float]:
        return {key: round(float(model.coef_[0]), 6) for key, model in self.models().items()}


def rows(store: str, slope: float, count: int = 8, begin: int = 0) -> pa.Table:
    x = np.arange(begin, begin + count, dtype=float)
    day = pa.array([datetime.date(2024, 1, 1)] * count, pa.date32())
    return pa.table({"store": [store] * count, "day": day, "x": x, "y": x * slope})


@pytest.fixture
def job(tmp_path: Path) -> Table:
    made = Table(tmp_path)
    write_deltalake(str(made.data), pa.concat_tables([rows("a", 1), rows("b", 2)]))
    return made


def test_overwritten_rows_are_not_read_and_an_older_version_can_be_chosen(job: Table) -> None:
    write_deltalake(str(job.data), rows("a", 5), mode="overwrite")
    assert counts(job.run()) == (1, 0, 0, 0)
    assert job.slopes() == {"store=a": 5}
    report = job.run(input={"version": 0})
    assert job.slopes() == {"store=a": 1, "store=b": 2}
    recorded = json.loads((job.out / "runs" / report.run / "run.json").read_text())
    assert recorded["input_version"] == 0
    moment = DeltaTable(str(job.data)).history()[0]["timestamp"] / 1000 + 1
    when = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    assert counts(job.run(input={"version": when}))[0] == 1
    assert job.slopes()["store=a"] == 5
    with pytest.raises(ConfigurationError, match="has no version 9"):
        job.run(input={"version": 9})


def test_a_version_that_the_log_no_longer_has_and_a_time_before_the_first_are_told(job: Table) -> None:
    for _ in range(3):
        write_deltalake(str(job.data), rows("b", 2), mode="append")
    with pytest.raises(ConfigurationError, match="no version as old as 2020-01-01") as caught:
        job.run(input={"version": "2020-01-01"})
    assert "The oldest is version 0" in caught.value.hint
    DeltaTable(str(job.data)).create_checkpoint()
    for version in range(3):
        (job.data / "_delta_log" / f"{version:020}.json").unlink()
    with pytest.raises(ConfigurationError, match="has no version 1") as caught:
        job.run(input={"version": 1})
    assert caught.value.hint == "Its log begins with version 3: older ones were cleaned up."
    assert counts(job.run()) == (2, 0, 0, 0)


def test_bytes_are_no_key_though_the_log_writes_them_as_text(tmp_path: Path) -> None:
    job = Table(tmp_path)
    first = rows("a", 1).set_column(0, "store", pa.array([b"a"] * 8))
    write_deltalake(str(job.data), first, partition_by=["store"])
    with pytest.raises(ConfigurationError, match="column 'store' is of type binary"):
        job.run()


def test_an_append_reads_what_was_added_and_trains_the_keys_that_it_has_rows_of(
    job: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.run()
    write_deltalake(str(job.data), rows("b", 2, begin=8), mode="append")
    looked_at = []
    look_at = table_files.counted

    def watched(store: Any, file: dict[str, Any], *rest: Any, **options: Any) -> Any:
        looked_at.append(file["name"])
        return look_at(store, file, *rest, **options)

    monkeypatch.setattr(table_files, "counted", watched)
    assert counts(job.run()) == (1, 1, 0, 0)
    assert len(looked_at) == 1
    assert job.row("store=b")["rows"] == 16


def test_a_compaction_trains_nothing(job: Table) -> None:
    write_deltalake(str(job.data), rows("b", 2, begin=8), mode="append")
    job.run()
    DeltaTable(str(job.data)).optimize.compact()
    assert counts(job.run()) == (0, 2, 0, 0)


def test_partition_columns_have_the_values_of_the_log_and_new_columns_are_missing_in_old_files(tmp_path: Path) -> None:
    job = Table(tmp_path)
    first = pa.concat_tables([rows("01", 1), rows("1", 2)])
    write_deltalake(str(job.data), first, partition_by=["store", "day"])
    more = rows("1", 2, begin=8).append_column("z", pa.array(np.ones(8)))
    write_deltalake(str(job.data), more, mode="append", schema_mode="merge")
    assert counts(job.run(input={"key": ["store", "day"]})) == (2, 0, 0, 0)
    assert job.slopes() == {"store=01/day=2024-01-01": 1, "store=1/day=2024-01-01": 2}
    assert job.row("store=1/day=2024-01-01")["rows"] == 16
    report = job.run(input={"key": ["store", "day"]}, recipe={"features": ["x", "z"]}, run={"max_failed": 2})
    assert report.failures == {"missing_values": 2}


def change_log(job: Job, change: Any) -> None:
    path = job.data / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        change(action)
    path.write_text("\n".join(map(json.dumps, actions)))


VECTOR = {
    "storageType": "u",
    "pathOrInlineDv": "vBn[lx{q8@P<9BNH/isA",
    "offset": 1,
    "sizeInBytes": 36,
    "cardinality": 2,
}


def protocol(feature: str, action: dict[str, Any]) -> None:
    if "protocol" in action:
        features = {"readerFeatures": [feature], "writerFeatures": [feature]}
        action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, **features}


def test_deletion_vectors_are_refused_by_name_and_a_table_that_only_allows_them_is_read(job: Table) -> None:
    change_log(job, lambda action: protocol("deletionVectors", action))
    assert counts(job.run()) == (2, 0, 0, 0)

    def delete(action: dict[str, Any]) -> None:
        if "add" in action:
            action["add"]["deletionVector"] = VECTOR

    change_log(job, delete)
    with pytest.raises(ConfigurationError, match="1 files of the Delta table have deletion vectors") as caught:
        job.run()
    assert "input.reader: spark" in caught.value.hint


def test_column_mapping_is_refused_by_name(job: Table) -> None:
    def mapped(action: dict[str, Any]) -> None:
        if "metaData" in action:
            action["metaData"]["configuration"] = {"delta.columnMapping.mode": "name"}
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}

    change_log(job, mapped)
    with pytest.raises(ConfigurationError, match="the Delta table uses columnMapping"):
        job.run()


def test_a_table_format_that_is_read_as_plain_files_is_refused_by_name(job: Table) -> None:
    with pytest.raises(InputError, match="is a table in the Delta format") as caught:
        job.run(input={"format": "parquet"})
    assert "input.format: delta" in caught.value.hint
    (job.data / "_delta_log").rename(job.data / "metadata")
    job.put("metadata/v1.metadata.json", b"{}")
    with pytest.raises(InputError, match="is a table in the Iceberg format") as caught:
        job.run(input={"format": "parquet"})
    assert "input.reader: spark" in caught.value.hint


def test_a_file_that_was_vacuumed_is_named(job: Table) -> None:
    next(job.data.glob("*.parquet")).unlink()
    with pytest.raises(InputError, match=r"1 files that the log of the Delta table names are not there"):
        job.run()


WRITTEN = Path(__file__).parents[2] / "golden" / "delta-4.0.0"


def by_spark(tmp_path: Path, name: str) -> Table:
    """A job on a table that Delta's own writer left."""
    job = Table(tmp_path)
    shutil.copytree(WRITTEN / name, job.data, dirs_exist_ok=True)
    return job


def test_a_delete_of_deltas_own_writer_is_refused_and_the_version_before_it_is_read(tmp_path: Path) -> None:
    job = by_spark(tmp_path, "deleted")
    with pytest.raises(ConfigurationError, match="1 files of the Delta table have deletion vectors"):
        job.run(input={"key": "k"})
    assert counts(job.run(input={"key": "k", "version": 0})) == (4, 0, 0, 0)
    assert job.slopes() == dict.fromkeys(("k=0", "k=1", "k=2", "k=3"), 2)


def test_mapped_columns_of_deltas_own_writer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the Delta table uses columnMapping"):
        by_spark(tmp_path, "mapped").run(input={"key": "k"})


def test_odd_partitions_of_deltas_own_writer_are_read_after_a_purge_and_a_checkpoint(tmp_path: Path) -> None:
    job = by_spark(tmp_path, "partitioned")
    with pytest.raises(ConfigurationError, match="have deletion vectors"):
        job.run(input={"key": ["k", "day"], "version": 2})
    assert counts(job.run(input={"key": ["k", "day"]})) == (3, 0, 0, 0)
    keys = [f"k={k}/day=2024-02-29" for k in ("a b%2Fc%3Dé%25", "__HIVE_DEFAULT_PARTITION__", "01")]
    assert job.slopes() == dict(zip(keys, (1, 2, 3), strict=True))
    assert {job.row(key)["rows"] for key in keys} == {21}
