"""Writes the generated pages of docs/reference: ``python docs/make/reference.py``; ``--check`` only says what is stale.

Settings come from `job.config.schema`, reasons from `job.outcome`, exit codes from `job.errors`, columns from the Arrow
schemas (their meanings from columns.py), commands from `job.cli.parser`, values of the chart from its values.yaml.
`--check` exits with 1 where a page differs from the program; a test runs it.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path += [str(Path(__file__).parent), str(ROOT / "deploy" / "helm")]

import columns  # noqa: E402
import pyarrow as pa  # noqa: E402
from written import written  # noqa: E402

from job import errors  # noqa: E402
from job.cli.parser import parser  # noqa: E402
from job.config.schema import markdown as settings  # noqa: E402
from job.outcome import REASONS, SCHEMA, Outcome  # noqa: E402
from job.registry.derived import TABLE  # noqa: E402
from job.registry.errors_table import ERRORS  # noqa: E402
from job.score.columns import OURS  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Written by docs/make/reference.py: `make docs` writes it anew. -->"

CODES = {
    0: "The command succeeded. A run that trained nothing, because nothing had changed, succeeds too.",
    1: "A bug of manyfit. `--verbose` prints the traceback.",
    2: "The configuration cannot be used. The message lists every mistake with the nearest valid name.",
    3: "Java, Spark or the Python environment cannot run the job.",
    4: "The input as a whole cannot be read: it is missing, access is denied, or two objects have one key.",
    5: "The output storage cannot be used.",
    6: "More partitions failed than `run.max_failed` allows. With `run.publish: healthy` the others are published.",
    7: "`manyfit verify` found damage, or a model file must not be loaded.",
    130: "The command was interrupted by Ctrl-C. Run it again to go on.",
    143: "The command was ended by SIGTERM. Run it again to go on.",
}


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """A Markdown table; pipes within cells are escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |" for row in lines
    )


def page(title: str, *parts: str) -> str:
    """A page: the title, the note, the parts with one empty line between them."""
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts)]) + "\n"


# -- reasons and exit codes


def classes() -> list[type[errors.ManyfitError]]:
    """Every error class, in the order of the module."""
    found = [each for each in vars(errors).values() if inspect.isclass(each)]
    return [each for each in found if issubclass(each, errors.ManyfitError) and each is not errors.ManyfitError]


def reasons() -> str:
    """Exit codes, error classes, reasons of partitions."""
    codes = {0, 130, 143, 1} | {each.exit_code for each in classes()}
    if codes != set(CODES):
        raise SystemExit(f"docs/make/reference.py: describe the exit codes {sorted(codes ^ set(CODES))} in CODES")
    return page(
        "Exit codes and reasons",
        "## Exit codes",
        "What a command returns to the shell. Kubernetes shows the same number as the driver's exit code.",
        table(("code", "meaning"), [(str(code), CODES[code]) for code in sorted(codes)]),
        "## Errors",
        "The classes of `job.errors` ([Python API](python.md#errors)). `result.json` and JSON log lines hold\n"
        "the reason. Errors of one partition have no exit code: they become a row with a reason of the next section.",
        table(("class", "reason", "exit code", "meaning"), [_error(each) for each in classes()]),
        "## Reasons of failed and skipped partitions",
        "`manyfit models OUTPUT --state failed` lists the keys with their reasons. Tracebacks lie in\n"
        "`<output>/runs/<run id>/failures/`.",
        table(("reason", "meaning"), [(f"`{name}`", text) for name, text in REASONS.items()]),
    )


def _error(cls: type[errors.ManyfitError]) -> tuple[str, ...]:
    partition = issubclass(cls, errors.PartitionError)
    first = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("``", "`")
    return f"`{cls.__name__}`", f"`{cls.reason}`", "none" if partition else str(cls.exit_code), first


# -- tables


def schema(held: pa.Schema, meanings: Mapping[str, str], where: str) -> str:
    """A table of columns; fails where meanings and columns differ."""
    if set(held.names) != set(meanings):
        differ = sorted(set(held.names) ^ set(meanings))
        raise SystemExit(
            f"the columns {differ} of {where} need a meaning, or have one and are gone: docs/make/columns.py"
        )
    return table(
        ("column", "type", "meaning"), [(f"`{each.name}`", f"`{each.type}`", meanings[each.name]) for each in held]
    )


def described(cls: type) -> dict[str, str]:
    """The strings below the fields of a dataclass."""
    (node,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(node, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(below.value)).replace("``", "`")
    return found


def tables() -> str:
    """The Delta tables and the parquet file that other programs read."""
    return page(
        "Tables",
        "Other programs may read these tables. Columns are added over time, so name the columns that you read.",
        "## `index`: the published models",
        "`<output>/index` is a Delta table with one row for each key. A version of the set of models is a\n"
        "version of this table.",
        schema(TABLE, columns.INDEX, "job.registry.derived.TABLE"),
        "## `predictions`: the output of `manyfit score`",
        "`<output>/predictions` is a Delta table with one row for each scored row. Its first columns are the kept\n"
        "columns of the input. The predictions follow: `prediction`, `prediction_<name>`, `proba_<class>`,\n"
        "`lo_<level>` and `hi_<level>`, as the models give them. With `score.function`, the columns that the\n"
        "function returns stand in the place of both. [Scoring](../explanation/scoring.md) describes them. The\n"
        "last columns are these:",
        schema(OURS, columns.PREDICTIONS, "job.score.columns.OURS"),
        "## `errors`: predictions compared with the truth",
        "`<output>/errors` is a Delta table with one row for each key and scoring run. It is written if\n"
        "`score.actual` names the column with the truth.",
        schema(ERRORS, columns.ERRORS, "job.registry.errors_table.ERRORS"),
        "## `outcomes.parquet`: what became of each key in one run",
        "`<output>/runs/<run id>/outcomes.parquet` has one row for each key that the run trained, scored, skipped or\n"
        "failed.",
        schema(SCHEMA, described(Outcome), "job.outcome.Outcome"),
    )


# -- commands


def commands() -> str:
    """Each command with its arguments and options."""
    (subparsers,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    helps = {each.dest: each.help or "" for each in subparsers._choices_actions}
    common = {"-h", "--help", "--log-format", "-v", "--verbose"}
    log = next(each for each in subparsers.choices["run"]._actions if "--log-format" in each.option_strings)
    parts = [
        "`manyfit COMMAND --help` prints the same. Exit codes: [exit codes and reasons](reasons.md).",
        table(
            ("command", "purpose"),
            [(f"[`manyfit {name}`](#manyfit-{name})", helps[name]) for name in subparsers.choices],
        ),
        "Every command takes these options:",
        table(
            ("option", "meaning"),
            [
                ("`-h`, `--help`", "print the arguments of the command"),
                ("`--log-format {auto,text,json}`", log.help or ""),
                ("`-v`, `--verbose`", "print more log lines, and the traceback of a bug"),
            ],
        ),
    ]
    for name, command in subparsers.choices.items():
        actions = [each for each in command._actions if not common & set(each.option_strings)]
        usage = " ".join(["manyfit", name, *(_usage(each) for each in actions)])
        parts += [f"## manyfit {name}", " ".join((command.description or "").split()), f"```text\n{usage}\n```"]
        if actions:
            parts.append(table(("argument", "meaning"), [(_argument(each), _meaning(each)) for each in actions]))
        if command.epilog:
            parts.append(_code(command.epilog))
    return page("Commands", *parts)


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        name = str(action.metavar)
        return f"{name} ..." if action.nargs == "+" else f"[{name}]" if action.nargs == "?" else name
    shown = _option(action, action.option_strings[-1])
    return shown if action.required else f"[{shown}]"


def _option(action: argparse.Action, name: str) -> str:
    if action.nargs == 0:
        return name
    return f"{name} {'{' + ','.join(map(str, action.choices)) + '}' if action.choices else action.metavar}"


def _argument(action: argparse.Action) -> str:
    names = [_option(action, each) for each in action.option_strings] or [str(action.metavar)]
    return ", ".join(f"`{each}`" for each in names)


_POSITIONAL = {"KEY": "the key of a partition", "VERSION": "a version of `manyfit history`"}


def _meaning(action: argparse.Action) -> str:
    text = action.help or ("" if action.option_strings else _POSITIONAL[str(action.metavar)])
    return f"{text} (required)" if action.required and action.option_strings else text


def _code(epilog: str) -> str:
    said, _, example = epilog.partition(": --")
    return f"{said}: `--{example}`" if example else epilog


# -- the chart


def chart() -> str:
    """The values of the Helm chart, by section."""
    import yaml
    from readme import rows
    from schema import CHART, descriptions

    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    found = list(rows(yaml.safe_load(text), descriptions(text)))
    sections = dict.fromkeys(path.partition(".")[0] for path, _, _ in found)
    parts = [
        "The values of `deploy/helm/manyfit`. `values.schema.json` beside it refuses unknown names and wrong types.\n"
        "How to use the chart: [Kubernetes](../how-to/kubernetes.md).",
    ]
    single = [each for each in sections if sum(path.partition(".")[0] == each for path, _, _ in found) == 1]
    parts.append(_values([each for each in found if each[0].partition(".")[0] in single]))
    for section in sections:
        if section not in single:
            parts += [f"## {section}", _values([each for each in found if each[0].partition(".")[0] == section])]
    return page("Chart values", *parts)


def _values(rows: list[tuple[str, Any, str]]) -> str:
    import json

    def shown(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False)
        return f"`{text}`" if len(text) <= 60 else "see `values.yaml`"

    return table(
        ("value", "default", "meaning"),
        [(f"`{path}`", shown(value), text.replace("\\|", "|")) for path, value, text in rows],
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "reasons.md": reasons,
    "tables.md": tables,
    "commands.md": commands,
    "chart.md": chart,
}


if __name__ == "__main__":
    sys.exit(written(PAGES, REFERENCE, sys.argv[1:], ".venv/bin/python docs/make/reference.py"))
