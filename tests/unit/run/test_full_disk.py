"""A disk that is full is called so, and what was finished until then is taken over."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from job.errors import FullError, OutputError
from job.store import folder as module
from job.store import open_store
from tests.support.folder_job import Job, counts, line

KEYS = "abcdefgh"


class Disk:
    """A disk with room for some models, and for little else until the reserve is given back."""

    def __init__(self, models: int) -> None:
        self.left = models
        self.full = False
        self.reserved = True

    def write(self, store: Any, target: str, data: bytes) -> str:
        if "/models/" in target:
            self.left -= 1
            self.full = self.full or self.left < 0
        if self.full and ("/models/" in target or self.reserved):
            store._raise(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "write", target)
        return str(WRITE(store, target, data))

    def reserve(self, store: Any, size: int) -> Any:
        def release() -> None:
            self.reserved = False

        return module.Reserve(release)


WRITE = module.FolderStore._write


def test_a_full_disk_is_called_so_and_finished_models_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path)
    for key in KEYS:
        job.put(f"{key}.csv.gz", line(2.0))
    disk = Disk(models=5)
    with monkeypatch.context() as patch:
        patch.setattr(module.FolderStore, "_write", lambda store, target, data: disk.write(store, target, data))
        patch.setattr(module.FolderStore, "reserve", lambda store, size: disk.reserve(store, size))
        with pytest.raises(OutputError, match="No space left on device") as caught:
            job.run()
    assert caught.value.hint == "Make room there (`df -h`, a quota), then run again: what is finished is taken over."
    assert caught.value.exit_code == 5

    report = job.run()
    assert counts(report)[:2] == (8, 0)
    assert report.totals.adopted == 5


def test_room_is_held_by_a_file_without_a_name(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    reserve = store.reserve(1 << 20)
    assert list(tmp_path.iterdir()) == []
    links = {each: os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if _is_link(each)}
    (held,) = [each for each, target in links.items() if target.startswith(str(tmp_path))]
    assert os.stat(int(held)).st_size == 1 << 20
    assert os.stat(int(held)).st_blocks * 512 >= 1 << 20, "blocks are there, not only a length"
    reserve.give_back()
    reserve.give_back()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(int(held))


def _is_link(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")  # the listing's own is closed by now


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [(errno.ENOSPC, FullError, "Make room"), (errno.EDQUOT, FullError, "Make room"), (errno.EMFILE, None, "ulimit -n")],
)
def test_what_a_folder_runs_out_of_is_named_with_the_way_out(
    tmp_path: Path, number: int, kind: type | None, hint: str
) -> None:
    store = open_store(str(tmp_path))
    assert isinstance(store, module.FolderStore)
    with pytest.raises(module.StoreError) as caught:
        store._raise(OSError(number, os.strerror(number)), "write", "a")
    assert hint in caught.value.hint
    assert kind is None or type(caught.value) is kind
