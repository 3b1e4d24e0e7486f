"""``make bench-scale``: planning, memory, skew and scaling, one after the other, with one JSON file each.

    uv run python -m benchmarks.scale [--quick] [--folder build/bench]

Each part is a benchmark of its own (see its help); ``--quick`` takes a tenth of the keys and models.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path


def parts(quick: bool) -> dict[str, list[str]]:
    """Module and arguments of each part."""
    keys = "100000" if quick else "1000000"
    return {
        "driver_scale": ["--keys", keys],
        "index_scale": ["--keys", keys],
        "skew": [],
        "worker_memory": ["--models", "10000" if quick else "100000"],
        "large": ["--megabytes", "100" if quick else "1000"],
        "cores": ["--rounds", "1", "--models", "40"] if quick else [],
        "cold": ["--only", "none", "--rounds", "1" if quick else "3"],
        "simulation": [],
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="NAMES", help="these parts, with commas")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, arguments in parts(given.quick).items():
        if given.only and name not in given.only.split(","):
            continue
        print(f"\n## {name}", flush=True)
        begin = time.monotonic()
        target = given.folder / f"{name}.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        if name == "index_scale":  # writes its JSON to standard output
            with target.open("wb") as file:
                code = subprocess.run(command, check=False, stdout=file).returncode
        else:
            code = subprocess.run([*command, "--json", str(target)], check=False).returncode
        print(f"{name}: {'within its limits' if code == 0 else f'ended with {code}'}, {target}", flush=True)
        print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        failed += [name] if code else []
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
