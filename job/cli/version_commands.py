"""The commands about versions of a set: history, rollback, retire, promote, forget, sign and mlflow.

As in `job.cli.commands`, each function assembles the pieces, prints, and returns the exit code.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from rich.table import Table

from job.cli import arguments as given
from job.cli import screens
from job.config import local_file
from job.errors import ConfigurationError
from job.store.side import storage
from job.words import counted

if TYPE_CHECKING:
    from job.cli.told import Told
    from job.registry.history import VersionInfo
    from job.registry.index import Index, Release
    from job.registry.seal import Seal
    from job.store import Store


def history(arguments: Namespace, overrides: list[str]) -> int:
    """List the versions of the set, or of predictions."""
    from job.registry.index import Index
    from job.registry.predictions import Predictions

    output = given.output(arguments, overrides)
    with storage("output", f"{output.uri} cannot be read"):
        index, predictions = Index(output), Predictions(output)
        versions = predictions.history(arguments.limit) or index.history(arguments.limit)
        held = index.held()
    if not versions:
        raise _nothing_published(output)
    if arguments.json:
        screens.print_json([_document(each) for each in versions])
    else:
        _show(versions, held=held)
    return 0


def rollback(arguments: Namespace, overrides: list[str]) -> int:
    """Go back to an older version, or let runs publish again."""
    from job.cli.told import Told
    from job.registry.index import Index
    from job.run import scored_before

    output = given.output(arguments, overrides)
    index, seal = Index(output), seal_of(arguments, output)
    told = Told(arguments, overrides, output)
    if arguments.resume == (arguments.version is not None or arguments.hold):
        raise ConfigurationError(
            "give either a VERSION, with or without --hold, or --hold alone, or --resume",
            hint=f"`manyfit history {arguments.output}` lists the versions.",
        )
    with storage("output", f"{output.uri} cannot be changed"):
        base = scored_before.before_rollback(output)
        if arguments.resume:
            # Without a hold there is no new version; with a signing key, the current version is signed.
            warning = seal.check() if index.held() else None
            done = index.resume()
            print(f"runs may publish again; version {done.version}")
            _sealed(seal, done.version, warning)
            return 0
        if arguments.version in (None, base or index.version()):
            return _held(arguments, output, seal, base)
        if base:
            return _predictions_back(arguments, output, told, base)
        again = index.differing(arguments.version)
        warning = seal.check(arguments.version)
        done = index.rollback(arguments.version, hold=arguments.hold)
        print(f"version {done.version} has the rows of version {arguments.version}")
        _sealed(seal, done.version, warning)
    if done.held:
        print(f"held: runs refuse (exit 2) until `manyfit rollback {arguments.output} --resume`")
    else:
        print(f"the next run would train about {again:,} keys again; --hold keeps it from doing so")
    told.of(done.version, "rollback")
    return 0


def _held(arguments: Namespace, output: Store, seal: Seal, base: int | None) -> int:
    """Hold the current version without going back; ``base`` is that of the predictions."""
    from job.registry import marks
    from job.registry.predictions import Predictions

    if not arguments.hold:
        raise ConfigurationError(
            f"cannot roll back to version {arguments.version}: {output.uri} is at version {arguments.version}",
            hint="--hold keeps runs from publishing another one; `manyfit history` lists the versions.",
        )
    warning = seal.check()
    done = Predictions(output).hold(base) if base else marks.hold(output, arguments.version)
    print(f"version {done} has the same rows")
    _sealed(seal, None if base else done, warning)
    print(f"held: runs refuse (exit 2) until `manyfit rollback {arguments.output} --resume`")
    return 0


def _predictions_back(arguments: Namespace, output: Store, told: Told, base: int) -> int:
    from job.registry.predictions import Predictions

    done = Predictions(output).rollback(arguments.version, hold=arguments.hold, base=base)
    print(f"version {done.version} of the predictions has the rows of version {arguments.version}")
    if arguments.hold:
        print(f"held: runs refuse (exit 2) until `manyfit rollback {arguments.output} --resume`")
    else:
        print("the next run scores again what was taken back; --hold keeps it from doing so")
    told.of(done.version, "rollback")
    return 0


def refuse_predictions(output: Store, what: str) -> None:
    """Raise if the output holds predictions: its index is derived from them, and names no models of its own."""
    from job.registry.predictions import Predictions

    if Predictions(output).version() is not None:
        raise ConfigurationError(
            f"{output.uri} holds predictions, and {what} is for a set of models",
            hint="Give the output of the job that trains. Predictions have `models`, `history`, `compare`, `report`, "
            "`verify`, `rollback`, `forget` and `gc`.",
        )


def retire(arguments: Namespace, overrides: list[str]) -> int:
    """Take keys out of the set."""
    return _of_keys(arguments, overrides, "retire", lambda index, keys: index.retire(keys), "key", "retired")


def promote(arguments: Namespace, overrides: list[str]) -> int:
    """Publish challengers that the gate kept back."""
    return _of_keys(arguments, overrides, "promote", lambda index, keys: index.promote(keys), "challenger", "promoted")


def _of_keys(
    arguments: Namespace,
    overrides: list[str],
    command: str,
    act: Callable[[Index, list[str]], Release],
    noun: str,
    done: str,
) -> int:
    """Make a version of a set in which some keys are changed."""
    from job.cli.told import Told
    from job.registry.index import Index

    output = given.output(arguments, overrides)
    refuse_predictions(output, command)
    seal, told = seal_of(arguments, output), Told(arguments, overrides, output)
    with storage("output", f"{output.uri} cannot be changed"):
        warning = seal.check()
        release = act(Index(output), arguments.keys)
        print(f"{counted(release.applied, noun)} {done}; version {release.version}")
        _sealed(seal, release.version, warning)
    told.of(release.version, command)
    return 0


def forget(arguments: Namespace, overrides: list[str]) -> int:
    """List or remove everything that the output holds of some keys."""
    from job.cli import forget

    output = given.output(arguments, overrides)
    return forget.main(arguments, output, seal_of(arguments, output))


def mlflow(arguments: Namespace, overrides: list[str]) -> int:
    """Register a version with MLflow."""
    from job.cli import to_mlflow

    refuse_predictions(given.output(arguments, overrides), "mlflow")
    return to_mlflow.main(arguments, overrides)


def _nothing_published(output: Store) -> ConfigurationError:
    return ConfigurationError(
        f"nothing is published in {output.uri}", hint="Is it the job's output.uri? `manyfit run` publishes."
    )


def seal_of(arguments: Namespace, output: Store) -> Seal:
    """The seal for a new version, from the options of a command."""
    from job.registry.seal import Seal

    key = local_file.read(arguments.signing_key, "--signing-key") if arguments.signing_key else None
    return Seal(output, key, unsigned=arguments.unsigned)


def _sealed(seal: Seal, version: int | None, warning: str | None) -> None:
    if seal.put(version) is not None:
        print(f"version {version} is signed")
    if warning:
        print(f"manyfit: {warning}", file=sys.stderr)


def sign(arguments: Namespace, overrides: list[str]) -> int:
    """Sign an existing version."""
    from job.registry.index import Index
    from job.registry.seal import Seal

    output = given.output(arguments, overrides)
    refuse_predictions(output, "sign")
    seal = Seal(output, local_file.read(arguments.signing_key, "--signing-key"))
    with storage("output", f"{output.uri} cannot be signed"):
        index = Index(output)
        if (current := index.version()) is None:
            raise _nothing_published(output)
        version = current if arguments.at is None else arguments.at
        index.files(version)  # raises if the version does not exist, or is no longer kept
        seal.put(version, vouch=arguments.vouch)
    print(f"version {version} is signed")
    return 0


def _document(version: VersionInfo) -> dict[str, Any]:
    """One version as plain data."""
    return {
        "version": version.version,
        "at": version.at.isoformat(),
        "operation": version.operation,
        "run": version.run,
        "inserted": version.inserted,
        "updated": version.updated,
        "removed": version.removed,
        **dict(version.metadata),
    }


def _show(versions: list[VersionInfo], *, held: bool) -> None:
    """Print the versions for a person."""
    console = screens.out()
    table = Table(box=None, pad_edge=False)
    for title in ("version", "at (UTC)", "operation", "new", "changed", "gone", "run"):
        table.add_column(title, justify="right" if title in ("version", "new", "changed", "gone") else "left")
    for each in versions:
        table.add_row(
            str(each.version),
            f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            f"{each.operation} to {each.metadata['restored']}" if "restored" in each.metadata else each.operation,
            f"{each.inserted:,}",
            f"{each.updated:,}",
            f"{each.removed:,}",
            each.run or "",
        )
    console.print(table)
    if held:
        console.print("held: runs refuse until `manyfit rollback OUTPUT --resume`")
