"""Tables as people have them: the same outcome in one process and in several; and no more of a file is read than is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from job.engine.inline import InlineEngine
from job.plan import placing
from job.store.folder import FolderStore
from tests.support.engines import INLINE, LOCAL, workers
from tests.support.table_cases import CASES, agree, outcome


@pytest.mark.parametrize("name", CASES)
def test_a_table_has_the_outcome_that_is_written_beside_it(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = outcome(case, tmp_path, lambda _: InlineEngine(), INLINE)
    assert agree(found, case.models), found


def test_worker_processes_that_exchange_rows_give_the_same_outcome_for_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, exchanged = placing.place, []

    def scattered(table: Any, due: Any, costs: Any, *_: Any) -> Any:
        placed = place(table, due, costs, min(3, len(due)), 2)
        exchanged.append(placed.readers)
        return placed

    monkeypatch.setattr("job.run.run.placing.place", scattered)
    for number, (name, case) in enumerate(CASES.items()):
        found = outcome(case, tmp_path / str(number), lambda _: workers(), LOCAL)
        assert agree(found, case.models), (name, found)
    assert any(exchanged)


def test_of_five_thousand_columns_those_are_read_that_a_fit_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES["five of five thousand columns"]
    (tmp_path / "in").mkdir()
    case.put(tmp_path / "in")
    (file,) = (tmp_path / "in").iterdir()
    data = file.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    read, part = [], FolderStore.part

    def watched(store: Any, name: str, begin: int, end: int, **options: Any) -> Any:
        if name == file.name and begin < len(data) - footer - 65536:
            read.append((begin, end))
        return part(store, name, begin, end, **options)

    monkeypatch.setattr(FolderStore, "part", watched)
    assert agree(outcome(case, tmp_path, lambda _: InlineEngine(), INLINE), case.models)
    stored = len(data) - footer
    assert 0 < sum(end - begin for begin, end in read) < 0.05 * stored
