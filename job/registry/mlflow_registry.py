"""A published version registered with MLflow: one small entry, and an alias that moves. Loads no model."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job import __version__
from job.config.settings import StorageSide
from job.errors import ConfigurationError, SetupError
from job.registry import mlflow_pointer
from job.registry.data_file import opened
from job.registry.index import Index
from job.store import Store

_ENTRY = "manyfit.entry"
"""the tag that identifies an entry: the digest of its content"""
_FOLDER = "fleet"
_DEFAULT = "0"
"""the experiment that every MLflow server has"""
_MOST = 1000
"""Number of entries that are searched for an equal one; an older one is not found, and a new one is made."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """The result of a registration."""

    name: str
    """name of the registered model"""
    entry: str
    """MLflow's version of the registered model"""
    version: int
    """version of the published set"""
    already: bool
    """whether this version had been registered before, so that only the alias was moved"""


def register(
    store: Store,
    storage: StorageSide,
    *,
    name: str,
    alias: str | None,
    at: int | None = None,
    key: Sequence[str] = (),
    missing: str = "raise",
    experiment: str | None = None,
) -> Registered:
    """Register a version of a published set, once, and move the alias to it.

    Parameters
    ----------
    store
        The output.
    storage
        The settings by which the store is reached. They are recorded, as they hold no credentials.
    name, alias
        The name and the alias of the registered model; no alias: none is moved.
    at
        A version of the set; default the current one.
    key
        The key columns; default the names in the keys themselves (``store=1/item=2``), else ``key``.
    missing
        What happens to rows whose key has no model: ``raise`` or ``nan``.
    experiment
        The experiment for the run that holds the entry; default that of MLflow.

    Raises
    ------
    ConfigurationError
        Nothing is published in the output, or the version does not exist.
    SetupError
        MLflow is not installed, or its server cannot be used.
    """
    index = Index(store)
    version = at if at is not None else index.version()
    if version is None:
        raise ConfigurationError(f"nothing has been published at {store.uri}", hint="Give the job's output.uri.")
    names = index.files(version)
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(lambda each: hashlib.sha256(store.get(f"index/{each}")).hexdigest(), names)
        files = dict(zip(names, digests, strict=True))
    told = mlflow_pointer.document(
        store.uri, version, files, key=key or _columns(store, names), missing=missing, storage=storage
    )
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise SetupError("MLflow is not installed", hint="pip install 'manyfit[mlflow]'") from error
    try:
        return _register(MlflowClient(), told, name=name, alias=alias, experiment=experiment)
    except MlflowException as error:
        raise SetupError(
            f"MLflow has refused: {error.message}", hint="Check MLFLOW_TRACKING_URI and its credentials."
        ) from error


def _columns(store: Store, files: Sequence[str]) -> list[str]:
    first = next(
        (opened(store.child("index"), each).read_row_group(0, ["key"])["key"][0].as_py() for each in files), ""
    )
    parts = [part.partition("=") for part in first.split("/")]
    return [name for name, _, _ in parts] if all(sign for _, sign, _ in parts) else ["key"]


def _register(client: Any, told: dict[str, Any], *, name: str, alias: str | None, experiment: str | None) -> Registered:
    entry = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    known = client.search_model_versions(f"name='{name}'", max_results=_MOST)
    made = next((each for each in known if each.tags.get(_ENTRY) == entry), None)
    already = made is not None
    if made is None:
        tags = {_ENTRY: entry, "manyfit.uri": told["uri"], "manyfit.version": str(told["version"])}
        if not known:
            _create(client, name)
        made = _logged(client, told, name, experiment, tags)
    if alias is not None:
        client.set_registered_model_alias(name, alias, made.version)
    return Registered(name=name, entry=str(made.version), version=told["version"], already=already)


def _create(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged(client: Any, told: dict[str, Any], name: str, experiment: str | None, tags: dict[str, str]) -> Any:
    """Log a run that holds the files of the entry, and create the entry."""
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    number = _DEFAULT if experiment is None else _experiment(client, experiment)
    run = client.create_run(number, run_name=f"{name}, version {told['version']} of the set", tags=tags)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environment = {"python": platform.python_version(), "dependencies": [f"manyfit=={__version__}"]}
        (root / "python_env.yaml").write_text(json.dumps(environment), encoding="utf-8")  # JSON is YAML
        model = Model(artifact_path=_FOLDER, run_id=run.info.run_id)
        pyfunc.add_to_model(
            model,
            loader_module=mlflow_pointer.__name__,
            python_env="python_env.yaml",
            model_config=told,
        )
        model.save(str(root / "MLmodel"))
        # Not by the client, which would first ask the server for the address.
        get_artifact_repository(run.info.artifact_uri).log_artifacts(str(root), _FOLDER)
    source = f"{run.info.artifact_uri}/{_FOLDER}"
    made = client.create_model_version(name, source, run.info.run_id, tags=tags, await_creation_for=0)
    client.update_run(run.info.run_id, status="FINISHED")
    return made


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)
