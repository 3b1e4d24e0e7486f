"""Turns arguments, environment and files into `JobSettings`.

The sources by priority, the highest first: the command line, the environment, a document passed as text (as the chart
does), a file. Sections are merged; any other value is replaced as a whole. All mistakes of all sources are reported at
once. Credentials are refused in every source, and never shown.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from job.config.mistakes import Mistake
from job.config.redaction import is_secret_variable, redact
from job.config.resolution import NO_ESTIMATOR, resolve, storage_alone
from job.config.schema import job_schema, section, settings
from job.config.score_settings import Settings
from job.config.settings import JobSettings, RecipeSettings, StorageSettings
from job.config.sources import Source, from_arguments, from_environment, from_text
from job.errors import ConfigurationError

Kind = Literal["argument", "env", "document", "file", "default"]
_SHORTEST_SECRET = 16


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The settings in force, and the source of each."""

    settings: Settings
    """checked, with defaults"""
    sources: Mapping[str, str]
    """source of each setting, by its path: ``argument``, ``env``, ``document``, ``file`` or ``default``"""
    places: Mapping[str, str]
    """place of each setting that a source sets, by its path, in words: ``job.yaml, line 4``"""
    base: Path
    """the folder that relative paths of code (``recipe.function``, ``recipe.code``) start from"""

    def changed(self) -> list[tuple[str, Any, str]]:
        """(path, value, place) of each setting that a source sets, in the reference's order. A run prints them."""
        document = to_document(self.settings)
        return [(path, _at(document, path), place) for path, place in self.places.items()]

    def to_document(self, *, defaults: bool = True) -> dict[str, Any]:
        """See `to_document`."""
        return to_document(self.settings, defaults=defaults)


def to_document(settings: Settings, *, defaults: bool = True) -> dict[str, Any]:
    """The settings as plain JSON data, for ``run.json`` and the run id. Without credentials: `load` refuses them.

    Parameters
    ----------
    settings
        A whole job or scoring.
    defaults
        Whether to include settings that have their default value. Without them, the document stays the same when a
        later version adds a setting.
    """
    # Not pydantic's own JSON mode: that writes null for infinity.
    found = settings.model_dump(by_alias=True, exclude_defaults=not defaults)
    made = _finite(found)
    assert isinstance(made, dict)
    return made


def load(
    *,
    argv_overrides: Sequence[str] = (),
    file: str | None = None,
    document: str | None = None,
    env: Mapping[str, str],
    read: Callable[[str], bytes] | None = None,
    judge: Callable[[RecipeSettings], list[str]] = lambda recipe: [],
    kind: type[Settings] = JobSettings,
) -> Loaded:
    """Read, merge and check the settings of all sources.

    Parameters
    ----------
    argv_overrides
        Settings of the command line: ``["--input.uri", "s3://b/", "--run.max_failed=5%"]``.
    file
        Path of a YAML or JSON file, or a URI that ``read`` can read.
    document
        A document as YAML or JSON text.
    env
        The environment; variables named ``MANYFIT_*`` are settings.
    read
        Reads ``file`` if that is a URI.
    judge
        Returns the mistakes in the estimators and scorers of a recipe. It is called only if there are other mistakes,
        so that all are reported at once. Without other mistakes, the caller checks the recipe later.
    kind
        The kind of the document: `JobSettings` or `ScoringSettings`.

    Raises
    ------
    ConfigurationError
        With every mistake in ``problems``.
    """
    found, mistakes = _collect(argv_overrides, file, document, env, read, kind)
    readable = not any(source.broken for source in found)
    merged, more = resolve(found, complete=readable, document=kind)
    mistakes += more
    if mistakes or merged is None:
        recipe = merged.recipe if isinstance(merged, JobSettings) else None
        known = recipe is not None and recipe.estimator != NO_ESTIMATOR
        raise _refusal(mistakes, judge(recipe) if recipe and known else (), nothing=file is None and document is None)
    leaves = [path for path, schema in settings(job_schema(kind)) if not section(schema)]
    given = {path: source for path in leaves for source in reversed(found) if path in source.places}
    return Loaded(
        settings=merged,
        sources={path: given[path].kind if path in given else "default" for path in leaves},
        places={path: given[path].places[path] for path in leaves if path in given},
        base=Path(file).expanduser().resolve().parent if file and "://" not in file else Path.cwd(),
    )


def load_storage(
    *,
    argv_overrides: Sequence[str] = (),
    file: str | None = None,
    document: str | None = None,
    env: Mapping[str, str],
    read: Callable[[str], bytes] | None = None,
) -> StorageSettings:
    """The ``storage`` section alone, for commands on an output, which need no job. Parameters as in `load`.

    Raises
    ------
    ConfigurationError
        With every mistake in ``problems``.
    """
    found, mistakes = _collect(argv_overrides, file, document, env, read)
    merged, more = resolve(found, complete=False)
    mistakes += [each for each in more if each.path.startswith("storage")]
    if mistakes:
        raise _refusal(mistakes)
    if merged is not None:
        return merged.storage
    return storage_alone(found)


def _collect(
    arguments: Sequence[str],
    file: str | None,
    text: str | None,
    env: Mapping[str, str],
    read: Callable[[str], bytes] | None,
    document: type[Settings] = JobSettings,
) -> tuple[list[Source], list[Mistake]]:
    """All sources, the one with the highest priority first, and their mistakes."""
    secrets = [each for name, each in env.items() if is_secret_variable(name, each) and len(each) >= _SHORTEST_SECRET]
    made = {
        kind: Source(kind, home=env.get("HOME"), secrets=secrets, document=document)
        for kind in ("argument", "env", "document", "file")
    }
    from_arguments(made["argument"], arguments)
    from_environment(made["env"], env)
    if text is not None:
        from_text(made["document"], text, "the document")
    if file is not None:
        try:
            from_text(made["file"], _read(file, read), file)
        except ConfigurationError as error:
            made["file"].broken = True
            made["file"].wrong(file, error.message, "")
    found = list(made.values())
    replaced: set[str] = set()
    for source in found:
        source.hidden |= replaced
        replaced |= source.whole
    return found, [mistake for source in reversed(found) for mistake in source.mistakes]


def _read(file: str, read: Callable[[str], bytes] | None) -> str:
    """The text of the configuration file."""
    try:
        if "://" in file and read is None:
            raise ConfigurationError("is a URI; give a local file here")
        data = read(file) if "://" in file and read else Path(file).expanduser().read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        folder = Path(file).expanduser().parent
        near = difflib.get_close_matches(Path(file).name, os.listdir(folder) if folder.is_dir() else [], n=1)
        also = f"; did you mean {folder / near[0]}?" if near else ""
        raise ConfigurationError(f"does not exist (looked in {folder.resolve()}){also}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"is not UTF-8 text: byte {error.start} cannot be read") from None
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}") from None


def _refusal(mistakes: list[Mistake], more: Sequence[str] = (), *, nothing: bool = False) -> ConfigurationError:
    lines = tuple(dict.fromkeys([*(str(each) for each in mistakes), *map(redact, more)]))
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    message = "\n".join([f"{count} in the settings:", *(f"  {line}" for line in lines)])
    hint = "Give the job as a file: -c job.yaml" if nothing and any("is required" in line for line in lines) else ""
    return ConfigurationError(message, problems=lines, hint=hint)


def _finite(item: Any) -> Any:
    if isinstance(item, dict):
        return {str(name): _finite(each) for name, each in item.items()}
    if isinstance(item, list):
        return [_finite(each) for each in item]
    if isinstance(item, float) and not math.isfinite(item):
        return ".nan" if math.isnan(item) else ".inf" if item > 0 else "-.inf"
    return item


def _at(document: Mapping[str, Any], path: str) -> Any:
    item: Any = document
    for name in path.split("."):
        item = item[name]
    return item
