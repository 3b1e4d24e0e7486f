"""Fingerprints: what would be trained, as canonical JSON and SHA-256. Pure.

Two levels. *Read?* is answered by three fingerprints kept in the index: the data's (names, sizes, ETags), the recipe's
and the environment's; if all three are as recorded, a partition is not read. *Fit?* is answered by the SHA-256 of the
bytes (`content`): equal bytes under a new ETag are unchanged too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from job.config.settings import InputSettings, JobSettings, ValidationSettings

LAYOUT = 1
"""Version of what is fingerprinted; raised when the same settings mean another model."""


HARMLESS = {
    "input": (
        *("uri", "match", "keys", "key", "include", "exclude", "only", "sample", "limit"),
        *("reader", "on_gone", "table_files", "version"),
    ),
    "recipe": ("allow", "estimator", "fallback", "baseline", "function", "code"),
}
"""Settings that do not count, or not here: which partitions there are is told by the data's fingerprint, and the code
by `job.fit.recipe.Recipe.fingerprint_part`. Every other setting counts, a new one too."""

_FORMAT = ("type", "delimiter", "quote", "encoding", "null_values", "decimal", "max_bytes", "max_ratio", "options")
_INPUT = {"layout": (), "format": dict.fromkeys(_FORMAT, ()), "schema_": (), "on_empty": ()}
_RECIPE = {
    **dict.fromkeys(("features", "target", "version", "sample_weight", "metrics", "min_rows"), ()),
    **dict.fromkeys(("missing", "drop_null_target", "constant_target"), ()),
    "validation": ValidationSettings.FIRST,
}
"""What version 0.1 had: these count at their defaults too, so that what it has published is unchanged."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no blanks, as UTF-8: equal values give equal bytes.

    Raises
    ------
    TypeError
        A value that JSON does not have.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def data_fingerprint(objects: Iterable[tuple[str, int, str | None]]) -> str:
    """Fingerprint of (name, size, ETag) of a partition's objects; names are relative to ``input.uri``, and sorted."""
    hasher = hashlib.sha256()
    for name, size, etag in objects:
        hasher.update(f"{len(name)}:{name}\0{size}\0{etag or ''}\n".encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()


def content_digest(blobs: Iterable[Any]) -> str:
    """SHA-256 of the bytes of one object; of several, of their digests in the order of names."""
    digests = [hashlib.sha256(blob).digest() for blob in blobs]
    return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()


def recipe_fingerprint(settings: JobSettings, recipe: Mapping[str, Any]) -> str:
    """Fingerprint of all that decides the model besides data and environment.

    Parameters
    ----------
    settings
        The job: reader, validation and metric settings and the seed count; how and where it runs does not.
    recipe
        ``Recipe.fingerprint_part()``: the estimator or the function with the digest of its code.
    """
    chosen = settings.recipe.counted(_RECIPE, HARMLESS["recipe"])
    reader = reader_part(settings.input)
    return digest(
        {"layout": LAYOUT, "reader": reader, "recipe": chosen, "code": dict(recipe), "seed": settings.run.seed}
    )


def reader_part(settings: InputSettings) -> dict[str, Any]:
    """The settings that decide which rows equal bytes become."""
    return settings.counted(_INPUT, HARMLESS["input"])


def environment_fingerprint(mode: str, versions: Mapping[str, str], imports: Mapping[str, str]) -> str:
    """Fingerprint of the library versions that must agree.

    Parameters
    ----------
    mode
        ``compatible``: python, numpy, pandas, scikit-learn and what the recipe imports, by major.minor; ``exact``: all
        versions in full; ``ignore``: none.
    versions
        The environment card (`job.fit.artifact.versions`).
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
    """The run of one SparkApplication: the same for the operator's retry of a driver, another for each firing."""
    return f"{application}-{digest({'document': dict(document), 'image': image})[:12]}"
