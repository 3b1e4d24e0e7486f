"""Turns the arguments of a command into its job with all settings, or into its output."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from job.config import document, load
from job.config.score_settings import ScoringSettings, Settings
from job.config.settings import JobSettings
from job.errors import ConfigurationError
from job.store.side import storage

if TYPE_CHECKING:
    from job.run.assembly import Assembly
    from job.run.score_assembly import ScoreAssembly
    from job.store import Store


def loaded(arguments: Namespace, overrides: list[str], **judge: Any) -> load.Loaded:
    """The settings of a job or a scoring, from all sources; ``judge`` holds further arguments of `load.load`."""
    if judge.get("kind") is not ScoringSettings and is_scoring(arguments, overrides):
        raise ConfigurationError(
            "the document is a scoring: it names models, and no recipe",
            hint="`manyfit score` runs it, and `manyfit plan` shows what it would do.",
        )
    return load.load(
        argv_overrides=overrides,
        file=arguments.config,
        document=arguments.document,
        env=os.environ,
        read=lambda uri: _read(uri, os.environ),
        **judge,
    )


def job(arguments: Namespace, overrides: list[str]) -> tuple[Assembly, load.Loaded]:
    """Assemble the job; return it with the loaded settings."""
    from job.fit import recipe_mistakes  # needs scikit-learn, which takes as long to import as Java to start
    from job.run.assembly import assemble

    found = loaded(arguments, overrides, judge=recipe_mistakes.of_settings)
    return assemble(job_of(found), found.base), found


def job_of(found: load.Loaded) -> JobSettings:
    """The settings of a document that was read as a job."""
    assert isinstance(found.settings, JobSettings)
    return found.settings


def scoring(arguments: Namespace, overrides: list[str]) -> tuple[ScoreAssembly, load.Loaded]:
    """Assemble the scoring; return it with the loaded settings."""
    from job.run.score_assembly import assemble_scoring

    found = loaded(arguments, overrides, kind=ScoringSettings)
    assert isinstance(found.settings, ScoringSettings)
    return assemble_scoring(found.settings, found.base), found


def is_scoring(arguments: Namespace, overrides: list[str]) -> bool:
    """Whether the document is a scoring and not a job: it names models, and no recipe."""
    named = {each.removeprefix("--").partition(".")[0] for each in overrides if each.startswith("--")}
    return _is_scoring(arguments.config, arguments.document, named)


def kind_of_file(config: str) -> Literal["job", "score"]:
    """The kind of document that a file holds.

    Raises
    ------
    ConfigurationError
        The file cannot be read.
    """
    if not Path(config).expanduser().is_file():
        raise ConfigurationError(f"{config} is no file", hint="-c takes a job or a scoring, as YAML or JSON.")
    return "score" if _is_scoring(config, None, set()) else "job"


def _is_scoring(config: str | None, text: str | None, named: set[str]) -> bool:
    if text is None and config is not None and "://" not in config:
        path = Path(config).expanduser()
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    tree = document.parse(text)[0] if text is not None else None
    if isinstance(tree, document.Mapping):
        named |= tree.items.keys()
    return "models" in named and "recipe" not in named


def document_of(arguments: Namespace, overrides: list[str]) -> Settings:
    """The settings of the document that ``-c`` names, of either kind, for a command on an output."""
    whole = Namespace(config=arguments.config, document=None)
    kind: type[Settings] = ScoringSettings if is_scoring(whole, overrides) else JobSettings
    return loaded(whole, overrides, kind=kind).settings


def output(arguments: Namespace, overrides: list[str]) -> Store:
    """The store of the argument OUTPUT."""
    from job.store import open_store

    if getattr(arguments, "config", None) is not None:
        found = document_of(arguments, overrides).storage
    else:
        found = load.load_storage(argv_overrides=overrides, env=os.environ)
    return open_store(arguments.output, found.side("output"), what="output")


def none_but(overrides: list[str]) -> None:
    """Raise if an argument is left over, for a command that takes no settings."""
    if overrides:
        raise ConfigurationError(
            f"unknown argument {overrides[0]!r}", hint="`manyfit COMMAND --help` lists the arguments."
        )


def _read(uri: str, env: Mapping[str, str]) -> bytes:
    """Read a job file in object storage (``-c s3://bucket/job.yaml``) with the storage settings of the environment."""
    from job.store import open_store

    folder, _, name = uri.rpartition("/")
    found = load.load_storage(env=env)
    with storage("input", f"the job {uri} cannot be read"):
        return bytes(open_store(folder, found.side("input"), what="input").get(name))
