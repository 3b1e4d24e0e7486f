"""A folder as an object store: what files, links, clocks and file systems do to it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path

import pytest

from job.config.settings import StorageSide
from job.errors import ChangedError, ConfigurationError, DeniedError, NotFoundError, PartitionError, StoreError
from job.store import Store, open_store
from job.store.folder import FolderStore
from tests.support.skips import DOES_NOT_APPLY


def folder(path: Path, **settings: object) -> FolderStore:
    store = open_store(str(path), StorageSide.model_validate(settings), what="input")
    assert isinstance(store, FolderStore)
    return store


def names(store: Store) -> list[str]:
    return store.list()["name"].to_pylist()


def test_a_missing_folder_is_not_found_by_name(tmp_path: Path) -> None:
    for operation in (FolderStore.list, FolderStore.prefixes, FolderStore.check):
        with pytest.raises(NotFoundError, match=f"the input folder '{tmp_path}/nowhere' does not exist"):
            operation(folder(tmp_path / "nowhere"))


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(NotFoundError, match="is not a folder"):
        folder(tmp_path / "file").list()


def test_the_first_write_makes_the_folder(tmp_path: Path) -> None:
    store = folder(tmp_path / "new" / "out")

    assert store.head("a/b") is None
    assert store.create("a/b", b"1") is True
    assert names(store) == ["a/b"]


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_changed(tmp_path: Path) -> None:
    """``tar --mtime``, reproducible archives and ``touch -d`` give each file one fixed time."""
    (tmp_path / "in").mkdir()
    file, other = tmp_path / "in" / "a.csv", tmp_path / "other"
    for way in ("written", "renamed"):
        file.write_text("x,2\n")
        os.utime(file, (315532800, 315532800))
        before = folder(tmp_path / "in").list()["etag"].to_pylist()
        assert folder(tmp_path / "in").list()["etag"].to_pylist() == before
        _next_tick(file)
        if way == "written":
            file.write_text("x,9\n")
        else:
            other.write_text("x,9\n")
        os.utime(file if way == "written" else other, (315532800, 315532800))
        if way == "renamed":
            other.rename(file)
        after = folder(tmp_path / "in").list()["etag"].to_pylist()
        assert after != before, way
        with pytest.raises(ChangedError):
            folder(tmp_path / "in").get("a.csv", if_match=before[0])


def _next_tick(file: Path) -> None:
    """Until the clock of the file system has gone on: it may stand still for 10 ms."""
    then = file.stat().st_ctime_ns
    probe = file.with_name("tick")
    while True:
        probe.write_text("")
        if probe.stat().st_ctime_ns > then:
            break
    probe.unlink()


def test_a_file_that_gets_another_name_while_it_is_read_is_read(tmp_path: Path) -> None:
    """Whoever creates a file links it first and then takes the first name away, which is a change of the file's time."""
    store = folder(tmp_path)
    store.create("a", b"1")
    reading = os.fstat
    seen = []

    def fstat(descriptor: int) -> os.stat_result:
        if not seen:
            os.link(tmp_path / "a", tmp_path / "b")
        seen.append(descriptor)
        return reading(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        assert store.get("a") == b"1"
    assert len(seen) == 2


def test_a_file_that_changed_since_it_was_listed_is_changed(tmp_path: Path) -> None:
    store = folder(tmp_path)
    store.create("a", b"1")
    etag = store.list()["etag"][0].as_py()
    (tmp_path / "a").write_bytes(b"22")

    with pytest.raises(ChangedError):
        store.get("a", if_match=etag)


def test_a_write_leaves_one_file_and_nothing_half_written_is_listed(tmp_path: Path) -> None:
    store = folder(tmp_path)
    store.create("a/b", b"1")
    store.create("a/b", b"2")
    store.put("a/b", b"3")
    (tmp_path / "a" / ".manyfit-123-crashed").write_bytes(b"half")

    assert names(store) == ["a/b"]
    assert sorted(os.listdir(tmp_path / "a")) == [".manyfit-123-crashed", "b"]


def test_a_full_disk_leaves_no_object_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = folder(tmp_path)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match=r"could not write 'a' in the input folder .*: No space left on device"):
        store.create("a", b"1")

    assert os.listdir(tmp_path) == []


def test_a_file_system_without_hard_links_needs_a_declared_single_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="has no hard links") as caught:
        folder(tmp_path).create("a", b"1")
    assert "single_writer" in caught.value.hint

    single = folder(tmp_path, single_writer=True)
    assert single.create("a", b"1") is True
    assert single.create("a", b"2") is False
    assert single.get("a") == b"1"
    assert os.listdir(tmp_path) == ["a"]


def test_a_name_that_is_a_folder_cannot_be_an_object_too(tmp_path: Path) -> None:
    store = folder(tmp_path)
    store.create("a/b", b"1")

    assert store.head("a") is None
    with pytest.raises(NotFoundError):
        store.get("a")
    with pytest.raises(StoreError, match="a folder has that name"):
        store.create("a", b"1")
    with pytest.raises(StoreError, match="could not write"):
        store.create("a/b/c", b"1")


def test_deleting_removes_folders_left_empty_but_not_the_store(tmp_path: Path) -> None:
    store = folder(tmp_path / "out").child("models")
    store.create("x/y/z", b"1")
    store.create("x/k", b"1")

    store.delete(["x/y/z"])
    assert sorted(os.listdir(tmp_path / "out" / "models" / "x")) == ["k"]
    store.delete(["x/k"])
    assert os.listdir(tmp_path / "out" / "models") == []


def test_links_are_followed_and_cycles_end(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f.csv").write_text("x")
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "b").mkdir()
    (tmp_path / "root" / "one").symlink_to(tmp_path / "data")
    (tmp_path / "root" / "two").symlink_to(tmp_path / "data")
    (tmp_path / "root" / "file.csv").symlink_to(tmp_path / "data" / "f.csv")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "b").symlink_to(tmp_path / "root" / "b")
    (tmp_path / "root" / "b" / "a").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "b" / "g.csv").write_text("x")

    assert names(folder(tmp_path / "root")) == ["a/b/g.csv", "b/g.csv", "file.csv", "one/f.csv", "two/f.csv"]


@pytest.mark.parametrize("target", ["nowhere", "gone.csv", "gone.csv/below"])
def test_a_link_that_leads_nowhere_is_listed_and_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "gone.csv").symlink_to(target)
    store = folder(tmp_path)

    assert store.list().select(["name", "size", "etag"]).to_pylist() == [{"name": "gone.csv", "size": 0, "etag": None}]
    assert store.head("gone.csv") is None
    with pytest.raises(PartitionError, match=r"'gone\.csv' is a link that leads nowhere") as caught:
        store.get("gone.csv")
    assert caught.value.reason == "input_missing"


@pytest.mark.timeout(60)
def test_what_is_no_regular_file_is_no_object_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock.csv"))
        (tmp_path / "device.csv").symlink_to("/dev/null")
        (tmp_path / "self").symlink_to(".")
        (tmp_path / "a.csv").write_text("x")
        store = folder(tmp_path)

        assert names(store) == ["a.csv"]
        for name in ("pipe.csv", "sock.csv", "device.csv"):
            assert store.head(name) is None
            with pytest.raises(NotFoundError, match="is not a regular file"):
                store.get(name)


def test_a_name_that_is_not_utf8_is_listed_and_refused_by_name(tmp_path: Path) -> None:
    raw = os.fsencode(str(tmp_path)) + b"/caf\xe9.csv"
    with open(raw, "wb") as file:
        file.write(b"x")
    store = folder(tmp_path)

    assert names(store) == ["caf\\xe9.csv"]
    with pytest.raises(PartitionError, match="is not valid UTF-8") as caught:
        store.get("caf\\xe9.csv")
    assert caught.value.reason == "unsupported_key"


def test_a_name_that_is_too_long_for_the_file_system_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PartitionError, match="too long"):
        folder(tmp_path).create("n" * 256, b"1")


def test_a_denied_file_says_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip(f"{DOES_NOT_APPLY}root may read everything")
    store = folder(tmp_path)
    store.create("a", b"1")
    (tmp_path / "a").chmod(0)

    with pytest.raises(DeniedError, match="may not read 'a'"):
        store.get("a")


def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    store = folder(tmp_path / "out")
    store.create("a/b", b"1")
    shutil.rmtree(tmp_path / "out")

    assert store.create("a/b", b"1") is True
    store.sync()


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a\\b"])
def test_a_path_that_deltalake_cannot_open_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no Delta table can lie below"):
        folder(tmp_path / name).delta()


def test_a_relative_folder_and_a_home_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert open_store("x/../models/").uri == f"{tmp_path}/models"
    assert open_store("~/models").uri == f"{tmp_path}/models"
    assert open_store("file:///a%20b").uri == "/a b"
