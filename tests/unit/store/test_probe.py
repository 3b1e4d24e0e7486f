"""A store is admitted for what it does; each liar is refused by what gives it away."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boto3
import pytest

from job.config.settings import StorageSide
from job.errors import DeniedError, OutputError
from job.keys import ObjectInfo
from job.store import open_store
from job.store.address import parse
from job.store.memory import MemoryStore
from job.store.probe import RACERS, ROUNDS, Admission, admit


def memory(kind: type[MemoryStore] = MemoryStore) -> MemoryStore:
    return kind(parse(f"memory://{uuid.uuid4().hex}"), StorageSide())


class Overwrites(MemoryStore):
    """Ignores the condition, and says so by success."""

    def create(self, name: str, data: bytes) -> bool:
        self.put(name, data)
        return True


class OverwritesButDenies(MemoryStore):
    """Writes, and then says that the object was there."""

    def create(self, name: str, data: bytes) -> bool:
        there = self.head(name) is not None
        self.put(name, data)
        return not there


class LooksThenWrites(MemoryStore):
    """Checks the condition and writes, but not in one step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.looked = {f"raced-{number}": threading.Barrier(RACERS) for number in range(ROUNDS)}

    def create(self, name: str, data: bytes) -> bool:
        if self.head(name) is not None:
            return False
        if name in self.looked:
            # Nobody writes before all have looked, however slow the machine is.
            self.looked[name].wait(60)
        self.put(name, data)
        return True


class KeepsTheLosersBytes(MemoryStore):
    """Announces one winner and keeps the bytes of another."""

    def create(self, name: str, data: bytes) -> bool:
        created = super().create(name, data)
        if not created and name.startswith("raced"):
            self.put(name, data)
        return created


class RefusesEveryone(MemoryStore):
    """A race without a winner."""

    def create(self, name: str, data: bytes) -> bool:
        return super().create(name, data) and not name.startswith("raced")


class Corrupts(MemoryStore):
    """Gives back other bytes."""

    def get(self, name: str, *, if_match: str | None = None) -> bytes:
        return super().get(name, if_match=if_match)[::-1]


class Stale(MemoryStore):
    """Answers with an older state."""

    def head(self, name: str) -> ObjectInfo | None:
        return None


class ReadOnly(MemoryStore):
    """May be read only."""

    def create(self, name: str, data: bytes) -> bool:
        raise DeniedError(f"refused to write {name!r}: AccessDenied")


class WriteOnly(MemoryStore):
    """May be written only."""

    def get(self, name: str, *, if_match: str | None = None) -> bytes:
        raise DeniedError(f"refused to read {name!r}: AccessDenied")


class NeverDeletes(MemoryStore):
    """A writer without the right to delete."""

    def delete(self, names: Iterable[str]) -> int:
        raise DeniedError("refused to delete")


LIARS = [
    (Overwrites, "overwrites an object that was to be created only"),
    (OverwritesButDenies, "overwrites an object that was to be created only"),
    (LooksThenWrites, r"let \d+ of 16 concurrent creators of one object win"),
    (KeepsTheLosersBytes, "kept the bytes of a creator that it refused"),
    (RefusesEveryone, "let 0 of 16 concurrent creators of one object win"),
    (Corrupts, "does not give back the bytes"),
    (Stale, "does not find an object that was just written"),
    (ReadOnly, "the output cannot be used: refused to write"),
    (WriteOnly, "the output cannot be used: refused to read"),
]


def test_an_honest_store_is_admitted_and_left_empty() -> None:
    store = memory()

    admission = admit(store)

    assert isinstance(admission, Admission)
    assert admission.mode == "conditional"
    assert admission.checks[-1] == "the probe is removed"
    assert 0 < admission.seconds < 60  # 0.2 on a quiet machine
    assert store.list().num_rows == 0


@pytest.mark.parametrize(("kind", "told"), LIARS, ids=[kind.__name__ for kind, _ in LIARS])
def test_a_lying_store_is_refused_by_what_gives_it_away(kind: type[MemoryStore], told: str) -> None:
    store = memory(kind)

    with pytest.raises(OutputError, match=told) as caught:
        admit(store)

    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert store.list().num_rows == 0


def test_a_store_without_conditions_is_refused_with_the_way_out() -> None:
    with pytest.raises(OutputError) as caught:
        admit(memory(Overwrites))

    assert "storage.output.single_writer: true" in caught.value.hint


def test_a_declared_single_writer_is_not_raced() -> None:
    admission = admit(memory(LooksThenWrites), single_writer=True)

    assert admission.mode == "single-writer"
    assert len(admission.checks) == 3


def test_a_writer_that_may_not_delete_is_admitted() -> None:
    assert "the probe is removed" not in admit(memory(NeverDeletes)).checks


def test_a_folder_is_admitted_and_made_if_need_be(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "new" / "models"))

    assert admit(store).mode == "conditional"
    assert store.list().num_rows == 0


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(OutputError, match="could not write") as caught:
        admit(open_store(str(tmp_path / "file" / "models")))

    assert "Check output.uri" in caught.value.hint


def test_a_folder_on_a_read_only_file_system_is_refused() -> None:
    with pytest.raises(OutputError, match=r"may not write|could not write"):
        admit(open_store("/proc/manyfit-models"))


def test_an_s3_bucket_is_admitted_within_seconds(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="admitted")
    store = open_store("s3://admitted/models", StorageSide(endpoint=s3_endpoint))

    admission = admit(store)

    assert admission.mode == "conditional"
    assert admission.seconds < 60  # 0.2 on a quiet machine
    assert store.list().num_rows == 0


def test_a_missing_bucket_is_refused_by_name(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    with pytest.raises(OutputError, match=r"the output bucket 'no-such-bucket' does not exist at http://127.0.0.1"):
        admit(open_store("s3://no-such-bucket/models", StorageSide(endpoint=s3_endpoint)))
