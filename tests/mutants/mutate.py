"""Put a small fault into one of the core modules, run the tests of its package, and tell which faults nobody notices.

``python -m tests.mutants.mutate --seed 1 --count 100`` draws faults from all places where one can be, evenly over the
modules. Each is played in a fork of a process that has imported the libraries already, with the module's text changed
in memory: nothing on disk changes. The module's own tests come first, then those of its package.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import io
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests" / "unit"
TESTS = {
    "plan/plan.py": "plan/test_plan.py plan/test_compare.py",
    "plan/fingerprint.py": "plan/test_fingerprint.py plan/test_plan.py",
    "plan/selection.py": "plan/test_selection.py plan/test_table_marks.py plan/test_plan.py",
    "plan/compare.py": "plan/test_compare.py plan/test_plan.py",
    "run/barrier.py": "run/test_barrier.py run/test_run.py",
    "run/release_rows.py": "run/test_release_rows.py run/test_run.py",
    "run/retention.py": "run/test_retention.py",
    "registry/row.py": "registry/test_index.py registry/test_challenger.py",
    "registry/merge.py": "registry/test_index.py registry/test_derived.py registry/test_challenger.py",
    "registry/index.py": "registry/test_index.py registry/test_challenger.py registry/test_seal.py",
    "worker/segment.py": "worker/test_segment.py worker/test_attempt.py",
    "fit/checks.py": "fit/test_train.py",
    "fit/validation.py": "fit/test_validation.py fit/test_train.py fit/test_fold_order.py",
}
"""The tests that are to notice a fault in a module, the likeliest first; those that are not there are left out."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
NAMES = {
    "and_": "or_", "or_": "and_", "equal": "not_equal", "not_equal": "equal", "less": "less_equal", "any": "all",
    "greater_equal": "greater", "greater": "greater_equal", "all": "any", "min": "max", "max": "min", "is_null": "is_valid",
    "is_valid": "is_null", "startswith": "endswith", "update": "clear",
}  # fmt: skip
LIMIT = 240
"""Seconds for the tests of one fault; who takes longer has noticed it."""


def faults(tree: ast.Module) -> Iterator[tuple[ast.AST, str, Any]]:
    """Each place where a fault can be: the node, what is done to it, and how it is described."""
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    # frozen=True, lru_cache(maxsize=64): no behaviour that a test could see.
    texts |= {
        id(each) for node in ast.walk(tree) for outer in getattr(node, "decorator_list", ()) for each in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if id(node) in texts or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield node, "comparison", COMPARISONS[type(node.ops[0])]
        elif isinstance(node, ast.BoolOp):
            yield node, "and/or", ast.Or if isinstance(node.op, ast.And) else ast.And
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "not", None
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            yield node, "+/-", ast.Sub if isinstance(node.op, ast.Add) else ast.Add
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, bool):
                yield node, "constant", not node.value
            elif isinstance(node.value, int):
                yield node, "constant", node.value + 1
            elif node.value in ("ascending", "descending"):
                yield node, "constant", "descending" if node.value == "ascending" else "ascending"
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in NAMES:
                yield node, "call", NAMES[name]
        elif isinstance(node, ast.If):
            yield node, "condition", None
        elif isinstance(node, ast.Continue | ast.Raise):
            yield node, "left out", None


def spoilt(text: str, number: int) -> tuple[str, str]:
    """The module with fault ``number``, and what it is."""
    tree = ast.parse(text)
    node, kind, new = list(faults(tree))[number]
    before, line = ast.unparse(node).splitlines()[0], getattr(node, "lineno", 0)
    match node, kind:
        case ast.Compare(), _:
            node.ops[0] = new()
        case ((ast.BoolOp() | ast.BinOp()), _):
            node.op = new()
        case ast.UnaryOp(), _:
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        case ast.Constant(), _:
            node.value = new
        case ast.Call(), _:
            if isinstance(node.func, ast.Attribute):
                node.func.attr = new
            else:
                node.func = ast.Name(new, ast.Load())
        case ast.If(), _:
            node.test = ast.UnaryOp(ast.Not(), copy.deepcopy(node.test))
        case _:
            for parent in ast.walk(tree):
                for _, value in ast.iter_fields(parent):
                    if isinstance(value, list) and node in value:
                        value[value.index(node)] = ast.copy_location(ast.Pass(), node)
    after = "pass" if kind == "left out" else ast.unparse(node).splitlines()[0]
    return ast.unparse(ast.fix_missing_locations(tree)), f"{line}: {kind}: {before[:70]}  ->  {after[:70]}"


class Spoiling(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with another text than it has."""

    def __init__(self, module: str, path: Path, text: str) -> None:
        self.module, self.path, self.text = module, path, text

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname == self.module:
            return importlib.util.spec_from_loader(fullname, self, origin=str(self.path))
        return None

    def exec_module(self, module: Any) -> None:
        module.__file__ = str(self.path)
        exec(compile(self.text, str(self.path), "exec"), module.__dict__)


def noticed(name: str, text: str) -> bool:
    """Whether a test fails, or none can be run, with this text of a module; played in a fork."""
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.alarm(LIMIT)
        dotted = "job." + name.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, Spoiling(dotted, ROOT / "job" / name, text))
        import pytest

        places = [str(UNIT / each) for each in TESTS[name].split() if (UNIT / each).exists()]
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", *places])
        os._exit(0 if code == 0 else 1)
    _, status = os.waitpid(child, 0)
    return status != 0


def drawn(seed: int, count: int, only: str) -> list[tuple[str, int]]:
    """Faults, evenly over the modules: each has as many as another one, as far as it has so many."""
    chance = random.Random(seed)
    pools = {}
    for name in TESTS:
        if only in name:
            numbers = list(range(sum(1 for _ in faults(ast.parse((ROOT / "job" / name).read_text())))))
            chance.shuffle(numbers)
            pools[name] = numbers
    found: list[tuple[str, int]] = []
    while len(found) < count and any(pools.values()):
        found += [(name, numbers.pop()) for name, numbers in pools.items() if numbers]
    return found[:count]


def preload() -> None:
    """Import what takes long, and nothing of ours: a fork imports that with the fault in it."""
    import boto3  # noqa: F401
    import deltalake.exceptions  # noqa: F401
    import hypothesis  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import pydantic_settings  # noqa: F401
    import pytest  # noqa: F401
    import sklearn.ensemble
    import sklearn.model_selection  # noqa: F401


def main() -> int:
    """Play the faults; ends with 1 if one survives."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--only", default="", help="modules with this in their name")
    given = options.parse_args()
    preload()
    os.chdir(ROOT)
    survivors = []
    chosen = drawn(given.seed, given.count, given.only)
    for name in dict.fromkeys(name for name, _ in chosen):
        if noticed(name, (ROOT / "job" / name).read_text()):
            print(f"the tests of {name} fail without a fault: {TESTS[name]}", flush=True)
            return 2
    for name, number in chosen:
        text, what = spoilt((ROOT / "job" / name).read_text(), number)
        begin = time.monotonic()
        killed = noticed(name, text)
        print(
            f"{'noticed ' if killed else 'SURVIVED'} {time.monotonic() - begin:5.1f} s  job/{name}:{what}", flush=True
        )
        survivors += [] if killed else [(name, what)]
    print(f"seed {given.seed}: {len(chosen) - len(survivors)} of {len(chosen)} faults are noticed", flush=True)
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
