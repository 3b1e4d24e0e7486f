"""Takes the test cluster down and leaves the machine as it was.

down.py           ends it; its logs stay to be looked at, until the next start
down.py --reset   and forgets them; imported images stay
down.py --purge   and everything else of it but the cache of tools and images
"""

import argparse
import shutil

import node
from place import STATE
from shell import Laps, guarded

RESET = ("etcd", "ns", "log", "pki", "config", "volumes")


def down(reset: bool = False, purge: bool = False) -> None:
    node.stop()
    if purge:
        shutil.rmtree(STATE, ignore_errors=True)
    elif reset:
        (STATE / "tests").unlink(missing_ok=True)
        for name in RESET:
            shutil.rmtree(STATE / name, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reset", action="store_true", help="forget the cluster's objects, logs and keys; images stay")
    parser.add_argument("--purge", action="store_true", help="forget all but the cache")
    arguments = parser.parse_args()
    lap = Laps()
    down(arguments.reset, arguments.purge)
    lap("down")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
