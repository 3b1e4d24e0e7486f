"""Makes what is made from something else: values.schema.json, the chart's README.md, deploy/manifests/*.yaml.

``python deploy/helm/generate.py`` writes, ``--check`` only says what is stale and exits with 1. Needs helm for
the manifests: ``$HELM``, the one on the path, or the one that ``make tools`` built.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import manifests  # noqa: E402
import readme  # noqa: E402
import schema  # noqa: E402


def targets() -> dict[Path, Callable[[], str]]:
    """Every generated file, and what makes its text."""
    made: dict[Path, Callable[[], str]] = {
        schema.CHART / "values.schema.json": schema.render,
        schema.CHART / "README.md": readme.render,
    }
    for file in manifests.RENDERED:
        made[manifests.MANIFESTS / file] = lambda file=file: manifests.render(file)  # type: ignore[misc]
    return made


def main(arguments: list[str]) -> int:
    """Write or check all files."""
    stale = 0
    for path, render in targets().items():
        text = render()
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{path} is stale: run python deploy/helm/generate.py")
        else:
            path.write_text(text)
            print(f"{path}: written")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
