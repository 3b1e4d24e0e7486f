"""``manyfit forget``: lists or removes everything that an output holds of some keys, and lists what stays."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from job.cli import screens
from job.errors import ConfigurationError
from job.registry.seal import Seal
from job.run import scored_before
from job.run.forgetting import Done, Traces, find, forget
from job.store import Store
from job.store.side import storage
from job.words import counted
from job.words import size as size_of


def main(arguments: Namespace, output: Store, seal: Seal) -> int:
    """List what the output holds of the keys, or remove it; ``seal`` signs the new version of a signed set."""
    with storage("output", f"{output.uri} cannot be changed"):
        if arguments.delete:
            # Finish a change of the predictions whose process died before it had updated the index.
            scored_before.make_good(output)
        traces = find(output, arguments.keys)
        warning = seal.check() if traces.published else None
        done = forget(output, traces, sealed=seal.put) if arguments.delete and not traces.empty else None
    if arguments.json:
        screens.print_json(_document(traces, done))
    else:
        for line in _lines(output, traces, done):
            print(line)
    if warning and done:
        print(f"manyfit: {warning}", file=sys.stderr)
    if done and done.asked:
        raise ConfigurationError(
            f"the run {done.asked} began meanwhile: not all is removed", hint="Call it again when the run has ended."
        )
    return 0


def _document(traces: Traces, done: Done | None) -> dict[str, Any]:
    return {
        "keys": list(traces.keys),
        "published": list(traces.published),
        "models": [name for name, _ in traces.models],
        "predictions": {each.name: each.rows for each in traces.predictions},
        "errors": {each.name: each.rows for each in traces.errors},
        "removed_of_runs": list(traces.logs),
        "rewritten_of_runs": list(traces.tables),
        "settings_that_name_it": list(traces.settings),
        "forgotten_before": list(traces.known),
        "runs_at_work": list(traces.at_work),
        "deleted": done is not None,
        "version": done.version if done else traces.version,
    }


def _lines(output: Store, traces: Traces, done: Done | None) -> list[str]:
    what = counted(len(traces.keys), "key")
    if traces.empty:
        return [f"nothing is left of {what} in {output.uri}"]
    lines = [f"{'removed' if done else 'would remove'}, of {what} in {output.uri}:"]
    size = size_of(sum(each for _, each in traces.models))
    found = [
        (len(traces.published), "row", f" of the published table; rows of version {traces.version}"),
        (len(traces.models), "model", f", {size}, of all versions"),
        (sum(each.rows for each in traces.predictions), "row", f" of predictions, in {len(traces.predictions)} files"),
        (sum(each.rows for each in traces.errors), "row", " of the errors of predictions"),
        (len(traces.logs), "object", " of runs: tracebacks, pages, marks"),
        (len(traces.tables), "object", " of runs, written anew without them: outcomes, lists, results"),
    ]
    lines += [f"  {counted(number, noun)}{rest}" for number, noun, rest in found if number]
    lines += ["what stays:"]
    if traces.published:
        lines.append(
            f"  rows in version {traces.version} of the published table and older ones, until `manyfit gc` removes "
            "these versions"
        )
    old = sum(not each.current for each in traces.predictions)
    if traces.predictions:
        lines.append(
            f"  nothing in older versions of the predictions: those that need one of the {len(traces.predictions)} "
            f"files ({old} are of older versions alone) cannot be read or rolled back to any more"
        )
        lines.append("  with output.mode: replace, the first and the last key of each file in the log of their table")
    if traces.settings:
        lines.append(f"  {counted(len(traces.settings), 'document')} with the settings of runs that name it")
    lines += [
        "  what the bucket keeps of objects that were deleted or overwritten: object versioning, soft delete, backups",
        "  the digest of the name, so that rollbacks bring nothing back",
        "the input is not touched: if it still has the key, the next run works on it again",
    ]
    if done is None:
        if traces.at_work:
            lines.append(f"the run {traces.at_work[0]} may be at work: --delete refuses until it has ended")
        lines.append("(nothing was removed; --delete removes it)")
    elif done.version is not None:
        lines.append(f"version {done.version}")
    return lines
