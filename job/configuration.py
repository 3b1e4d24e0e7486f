"""The only reader of arguments, environment and files: what the user wrote, as `JobSettings`.

The command line wins over the environment, which wins over one document given as text (what the chart passes), which
wins over a file. Sections are merged, any other value is replaced as a whole. Every mistake of every source is reported
at once. Credentials are refused, wherever they stand, and never shown.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from job.errors import ConfigurationError
from job.mistakes import Mistake, from_validation, show
from job.redaction import is_secret_name
from job.schema import section, settings
from job.settings import JobSettings, StorageSettings
from job.sources import Source, from_arguments, from_environment, from_text

Kind = Literal["argument", "env", "document", "file", "default"]
_MOST_ROUNDS = 6
_STAND_INS: dict[str, Any] = {
    "input.uri": "memory://in",
    "output.uri": "memory://out",
    "recipe.estimator": {"_target_": "x"},
}
_SECTIONS: dict[str, Any] = {"input": {}, "recipe": {}, "output": {}}
_SHORTEST_SECRET = 16


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The settings in force and where each came from."""

    settings: JobSettings
    """checked, with defaults"""
    sources: Mapping[str, str]
    """path of each setting to ``argument``, ``env``, ``document``, ``file`` or ``default``"""
    places: Mapping[str, str]
    """path of each setting that was given to its place, for a person: ``job.yaml, line 4``"""
    base: Path
    """the folder that paths of code (``recipe.function``, ``recipe.code``) start from"""

    def changed(self) -> list[tuple[str, Any, str]]:
        """(path, value, place) of every setting that was given, in the reference's order; printed when a run starts."""
        document = to_document(self.settings)
        return [(path, _at(document, path), place) for path, place in self.places.items()]

    def to_document(self, *, defaults: bool = True) -> dict[str, Any]:
        """See `to_document`."""
        return to_document(self.settings, defaults=defaults)


def to_document(settings: JobSettings, *, defaults: bool = True) -> dict[str, Any]:
    """The settings as plain JSON data, for ``run.json`` and the run id. No credential can be in it: none gets in.

    Parameters
    ----------
    settings
        A whole job.
    defaults
        Without them, the document stays the same when a later version adds a setting.
    """
    found = settings.model_dump(mode="json", by_alias=True, exclude_defaults=not defaults)
    made = _finite(found)
    assert isinstance(made, dict)
    return made


def canonical(document: Mapping[str, Any]) -> str:
    """One text for equal documents: sorted names, no spaces, exact unicode."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def load(
    *,
    argv_overrides: Sequence[str] = (),
    file: str | None = None,
    document: str | None = None,
    env: Mapping[str, str],
    read: Callable[[str], bytes] | None = None,
) -> Loaded:
    """Settings from all sources.

    Parameters
    ----------
    argv_overrides
        ``["--input.uri", "s3://b/", "--run.max_failed=5%"]``.
    file
        Path of a YAML or JSON file, or a URI that ``read`` can read.
    document
        The same as text.
    env
        The environment; variables named ``MANYFIT_*`` are settings.
    read
        Reads ``file`` if that is a URI.

    Raises
    ------
    ConfigurationError
        With every mistake in ``problems``.
    """
    found, mistakes = _collect(argv_overrides, file, document, env, read)
    readable = not any(source.broken for source in found)
    merged, more = _check(found, complete=readable)
    mistakes += more
    if mistakes or merged is None:
        raise _refusal(mistakes, nothing=not any(source.tree for source in found) and readable)
    leaves = [path for path, schema in settings() if not section(schema)]
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
    """The ``storage`` section alone, for commands that look at an output and need no job. Parameters as in `load`."""
    found, mistakes = _collect(argv_overrides, file, document, env, read)
    merged, more = _check(found, complete=False)
    mistakes += [each for each in more if each.path.startswith("storage")]
    if mistakes:
        raise _refusal(mistakes)
    if merged is not None:
        return merged.storage
    for source in found:
        source.hidden |= source.tree.keys() - {"storage"}
    return Job(sources=[*found, _stand_in(_STAND_INS)]).storage  # type: ignore[call-arg]


class Job(JobSettings, BaseSettings):  # type: ignore[misc]
    """`JobSettings` as pydantic-settings fills them in: from the sources given as ``sources``, the first one wins."""

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """The job's own sources instead of the usual ones."""
        return tuple(sources["init_settings"].init_kwargs["sources"])


def _collect(
    arguments: Sequence[str],
    file: str | None,
    text: str | None,
    env: Mapping[str, str],
    read: Callable[[str], bytes] | None,
) -> tuple[list[Source], list[Mistake]]:
    """All sources, the one that wins first."""
    secrets = [each for name, each in env.items() if is_secret_name(name) and len(each) >= _SHORTEST_SECRET]
    made = {
        kind: Source(kind, home=env.get("HOME"), secrets=secrets) for kind in ("argument", "env", "document", "file")
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


def _check(found: list[Source], *, complete: bool) -> tuple[JobSettings | None, list[Mistake]]:
    """Validate what the sources say, again without what was wrong until nothing new turns up.

    One round is not enough: pydantic compares settings with each other only where each is right by itself.
    """
    mistakes: list[Mistake] = []
    wrong = {each.path for source in found for each in source.mistakes}
    known = " ".join(each.what for source in found for each in source.mistakes)
    instead: dict[str, Any] = {}
    for _ in range(_MOST_ROUNDS):
        try:
            job = Job(sources=[_stand_in(instead), *found, _stand_in(_SECTIONS)])  # type: ignore[call-arg]
        except ValidationError as error:
            news = [each for each in from_validation(error) if _leaf(each[0]) not in wrong]
            for path, what, given, kind in news:
                meant = "recipe.estimator" if path == "recipe" else path
                missing = kind == "missing" or (path == "recipe" and kind == "inconsistent")
                follows = kind == "inconsistent" and any(_names(what, each) for each in wrong)
                follows = follows and not missing
                if not follows and not (
                    missing and (not complete or f"did you mean {meant}?" in known or meant in wrong)
                ):
                    mistakes.append(Mistake(path=path, what=what, value=show(given), where=_place(found, path)))
            if not news:
                break
            for path, *_rest in news:
                path = "recipe.estimator" if path == "recipe" else _leaf(path)
                wrong.add(path)
                if path in _STAND_INS:
                    instead[path] = _STAND_INS[path]
                for source in found:
                    source.hidden.add(path)
        else:
            fields = {name: getattr(job, name) for name in JobSettings.model_fields}
            return (None if mistakes else JobSettings.model_construct(job.model_fields_set, **fields)), mistakes
    return None, mistakes


def _stand_in(values: Mapping[str, Any]) -> Source:
    source = Source("stand-in")
    for path, item in values.items():
        source.put(path.split("."), item)
    return source


def _leaf(path: str) -> str:
    return re.sub(r"\[\d+\]$", "", path)


def _names(text: str, path: str) -> bool:
    return re.search(rf"\b{re.escape(path.rpartition('.')[2])}\b", text) is not None


def _place(found: list[Source], path: str) -> str:
    path = _leaf(path)
    parts = path.split(".")
    for size in range(len(parts), 0, -1):
        for source in found:
            if ".".join(parts[:size]) in source.places:
                return source.places[".".join(parts[:size])]
    return ""


def _refusal(mistakes: list[Mistake], *, nothing: bool = False) -> ConfigurationError:
    lines = tuple(dict.fromkeys(str(each) for each in mistakes))
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    message = "\n".join([f"{count} in the settings:", *(f"  {line}" for line in lines)])
    hint = "Give a job file: -c job.yaml" if nothing else ""
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
