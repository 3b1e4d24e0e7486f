"""The order in which the parts of the predictions were released, read from the log of their table. It only reads.

Of two parts with rows of one key, the later one has the key's newer generation. The times in the rows do not tell that:
a part that was taken over from a run that died is older than its release.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from job.errors import NotFoundError, OutputError

if TYPE_CHECKING:
    from job.store import Store


def ranks(store: Store, folder: str, version: int) -> dict[str, int]:
    """The rank of each part of a version: a part of a later release has a higher one.

    A rollback brings back the ranks of the version that it restores. A part that ``forget`` has rewritten has the rank
    of the part in whose place it is.

    Parameters
    ----------
    store
        The output.
    folder
        The folder of the table below the output.
    version
        A version of the table.

    Raises
    ------
    OutputError
        Another tool has written to the table, or has removed commits from its log.
    """

    def actions(number: int) -> list[dict[str, Any]]:
        try:
            body = bytes(store.get(f"{folder}/_delta_log/{number:020d}.json"))
        except NotFoundError:
            raise _of_another_tool(store, folder, f"commit {number} is missing in its log") from None
        return [json.loads(line) for line in body.splitlines() if line]

    with ThreadPoolExecutor(16) as pool:
        log = list(pool.map(actions, range(version + 1)))
    about = [_info(commit) for commit in log]
    wanted = {int(each["manyfit.restored"]) for each in about if "manyfit.restored" in each}
    kept: dict[int, tuple[dict[str, int], int | None]] = {}
    found: dict[str, int] = {}
    foreign: int | None = None
    for number, (commit, own) in enumerate(zip(log, about, strict=True)):
        if "manyfit.restored" in own:
            before, foreign = kept[int(own["manyfit.restored"])]
            found = dict(before)
        else:
            _follow(found, commit, number, inherits=own.get("manyfit.operation") == "forget")
            if "manyfit.operation" not in own and any("add" in each or "remove" in each for each in commit):
                foreign = number
        if number in wanted:
            kept[number] = dict(found), foreign
    if foreign is not None:
        raise _of_another_tool(store, folder, f"commit {foreign} is not of manyfit")
    return found


def _info(commit: list[dict[str, Any]]) -> dict[str, Any]:
    return next((each["commitInfo"] for each in commit if "commitInfo" in each), {})


def _follow(found: dict[str, int], commit: list[dict[str, Any]], number: int, *, inherits: bool) -> None:
    rank = number
    for each in commit:
        if "remove" in each:
            gone = found.pop(each["remove"]["path"], number)
            rank = gone if inherits else number
        elif "add" in each:
            found[each["add"]["path"]] = rank


def _of_another_tool(store: Store, folder: str, why: str) -> OutputError:
    return OutputError(
        f"which predictions of a key are its newest cannot be told from {store.uri}/{folder}: {why}",
        hint="Roll back to a version before another tool wrote to it (`manyfit rollback`), or give the predictions "
        "another output.",
    )
