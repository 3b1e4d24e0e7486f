"""``manyfit mlflow``: a published version becomes an entry of MLflow's registry, and the alias moves to it."""

from __future__ import annotations

import os
from argparse import Namespace

from job.cli import arguments as given
from job.config import load
from job.registry import mlflow_registry
from job.store.side import storage


def main(arguments: Namespace, overrides: list[str]) -> int:
    """Register the version, and print the name of its entry."""
    output = given.output(arguments, overrides)
    side = load.load_storage(argv_overrides=overrides, env=os.environ).side("output")
    with storage("output", f"{output.uri} cannot be read"):
        done = mlflow_registry.register(
            output,
            side,
            name=arguments.name,
            alias=arguments.alias,
            at=arguments.at,
            key=arguments.key,
            missing=arguments.missing,
            experiment=arguments.experiment,
        )
    how = "was registered before" if done.already else "is registered"
    print(f"version {done.version} {how}: {done.name} {done.entry}")
    if arguments.alias:
        print(f"models:/{done.name}@{arguments.alias} points at it")
    return 0
