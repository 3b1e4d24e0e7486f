"""Fingerprints: SHA-256 of the canonical JSON of everything that decides a model. Pure.

They answer two questions. Must a partition be read? The index holds three fingerprints: of the data (names, sizes,
ETags), the recipe and the environment. If all three are as recorded, the partition is not read. Must it be fitted? The
SHA-256 of the bytes (`content`) tells: equal bytes with a new ETag are unchanged, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from job.config.settings import InputSettings, JobSettings, ValidationSettings

LAYOUT = 1
"""Version of the fingerprints. It is raised when a new manyfit makes another model from the same settings."""


HARMLESS = {
    "input": (
        *("uri", "match", "keys", "key", "include", "exclude", "only", "sample", "limit"),
        *("reader", "on_gone", "table_files", "version"),
    ),
    "recipe": ("allow", "estimator", "fallback", "baseline", "function", "code"),
}
"""Settings that are not part of the fingerprint, or are in another one: the fingerprint of the data covers the choice
of partitions, and `job.fit.recipe.Recipe.fingerprint_part` the code. All other settings count, also new ones."""

_FORMAT = ("type", "delimiter", "quote", "encoding", "null_values", "decimal", "max_bytes", "max_ratio", "options")
_INPUT = {"layout": (), "format": dict.fromkeys(_FORMAT, ()), "schema_": (), "on_empty": ()}
_RECIPE = {
    **dict.fromkeys(("features", "target", "version", "sample_weight", "metrics", "min_rows"), ()),
    **dict.fromkeys(("missing", "drop_null_target", "constant_target"), ()),
    "validation": ValidationSettings.FIRST,
}
"""Settings of version 0.1: they are part of the fingerprint also at their defaults, so that old outputs stay valid."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no blanks, as UTF-8: equal values give equal bytes.

    Raises
    ------
    TypeError
        The value is of a type that JSON does not have.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, as hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def data_fingerprint(objects: Iterable[tuple[str, int, str | None]]) -> str:
    """Fingerprint of (name, size, ETag) of a partition's objects; names are relative to ``input.uri``, and sorted."""
    hasher = hashlib.sha256()
    for name, size, etag in objects:
        hasher.update(f"{len(name)}:{name}\0{size}\0{etag or ''}\n".encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()


def content_digest(blobs: Iterable[Any]) -> str:
    """SHA-256 of the bytes of one object; for several objects, SHA-256 of their digests in the order of names."""
    digests = [hashlib.sha256(blob).digest() for blob in blobs]
    return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()


def recipe_fingerprint(settings: JobSettings, recipe: Mapping[str, Any]) -> str:
    """Fingerprint of everything that decides the model, except data and environment.

    Parameters
    ----------
    settings
        The job. Its settings of the reader, the validation, the metrics and the seed are part of the fingerprint; those
        that say how and where it runs are not.
    recipe
        ``Recipe.fingerprint_part()``: the estimator, or the function with the digest of its code.
    """
    chosen = settings.recipe.counted(_RECIPE, HARMLESS["recipe"])
    reader = reader_part(settings.input)
    return digest(
        {"layout": LAYOUT, "reader": reader, "recipe": chosen, "code": dict(recipe), "seed": settings.run.seed}
    )


def reader_part(settings: InputSettings) -> dict[str, Any]:
    """The settings that decide how bytes become rows."""
    return settings.counted(_INPUT, HARMLESS["input"])


def environment_fingerprint(mode: str, versions: Mapping[str, str], imports: Mapping[str, str]) -> str:
    """Fingerprint of the library versions that must not change.

    Parameters
    ----------
    mode
        ``compatible``: major and minor version of python, numpy, pandas, scikit-learn and the recipe's imports;
        ``exact``: all versions in full; ``ignore``: no version.
    versions
        All versions of the environment (`job.fit.artifact.versions`).
    imports
        Distributions that the recipe imports, with their versions.
    """
    if mode == "ignore":
        return digest({"mode": mode})
    if mode == "exact":
        return digest({"mode": mode, "versions": dict(versions), "imports": dict(imports)})
    core = {name: _minor(versions[name]) for name in ("python", "numpy", "pandas", "scikit-learn") if name in versions}
    return digest({"mode": mode, "versions": core, "imports": {name: _minor(text) for name, text in imports.items()}})


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def run_id(application: str, document: Mapping[str, Any], image: str | None) -> str:
    """The run id of a SparkApplication: the same if the operator retries the driver, another for each new start."""
    return f"{application}-{digest({'document': dict(document), 'image': image})[:12]}"
