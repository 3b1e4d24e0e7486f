"""The diagrams of docs/images: ``python docs/make/diagrams.py`` draws them; ``--check`` only says which are stale.

The layers come from the imports in ``job/``; the other two are written here by hand. A test runs `--check`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from drawing import Box, Drawing
from written import written

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"

ROOMS = {
    "cli": (450, 0, "the command line"),
    "run": (450, 1, "a run, step by step"),
    "page": (190, 2, "the page about a run"),
    "engine": (710, 2, "runs the tasks: processes or Spark"),
    "registry": (190, 3, "the published set, one commit a version"),
    "worker": (710, 3, "a task on an executor"),
    "score": (450, 4, "one model applied to the rows of its key"),
    "fit": (450, 5, "one partition, from rows to a model"),
    "plan": (710, 5, "which keys are trained, and why"),
    "store": (190, 6, "object storage behind one interface"),
    "judge": (450, 6, "is a model better than another"),
    "reader": (710, 6, "bytes to one Arrow table, strictly"),
    "config": (450, 7, "arguments and files become settings"),
    "root": (450, 8, "words that everybody uses: errors, keys"),
}
"""Where each package of job/ stands (x of its centre, row), and what it is for."""


def imports(package: Path) -> dict[str, set[str]]:
    """Package to the packages that it imports. ``job/__init__.py`` is left out: it only hands out what others have."""
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        if parts == ("__init__.py",):
            continue
        here = parts[0] if len(parts) > 1 else "root"
        found.setdefault(here, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in _modules(node):
                second = name.split(".")[1]
                there = second if (package / second).is_dir() else "root"
                found[here] |= {there} - {here}
    return found


def _modules(node: ast.AST) -> list[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [each.name for each in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [f"job.{each.name}" for each in node.names] if node.module == "job" else [node.module]
    return [each for each in names if each.startswith("job.")]


def reduced(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The edges of a graph without circles that no path of other edges stands for."""

    def reaches(one: str, other: str) -> bool:
        return any(each == other or reaches(each, other) for each in graph[one])

    return [
        (one, other)
        for one in sorted(graph)
        for other in sorted(graph[one])
        if not any(each != other and reaches(each, other) for each in graph[one])
    ]


def layers() -> str:
    """The packages of job/ and their imports."""
    graph = imports(ROOT / "job")
    if set(graph) != set(ROOMS):
        raise SystemExit(f"docs/make/diagrams.py: place the packages {sorted(set(graph) ^ set(ROOMS))} in ROOMS")
    edges = reduced(graph)
    drawing = Drawing(
        width=900,
        height=725,
        title="The layers of job/",
        about="Packages from the command line down to the root. "
        + " ".join(f"{one} imports {other}." for one, other in edges),
    )
    boxes = {
        name: drawing.box(
            Box(x=x, y=45 + 76 * row, name=name, lines=(text,), width=246, kind="main" if row < 2 else "")
        )
        for name, (x, row, text) in ROOMS.items()
    }
    for one, other in edges:
        # Ends are spread over the sides of a box, towards where the other one stands.
        lean = (boxes[other].x - boxes[one].x) / 6
        drawing.down(boxes[one], boxes[other], lean, -lean)
    drawing.text(
        20,
        710,
        "An arrow: this package imports that one. It may also import what that one may import.",
    )
    return drawing.svg()


def life_of_a_run() -> str:
    """Driver, executors and store, from the settings to the exit code."""
    drawing = Drawing(
        width=900,
        height=800,
        title="The life of a run",
        about="The driver checks the settings, tries the store, lists the input and plans. Executors read, fit, and "
        "put models, then outcomes. The driver reads the outcomes, counts them, publishes one version, writes "
        "result.json, and ends with an exit code.",
    )
    drawing.column(0, 294, "Driver")
    drawing.column(303, 294, "Executors")
    drawing.column(606, 294, "Object storage")
    left, middle, right, wide = 147, 450, 753, 256

    def box(x: float, y: float, name: str, *lines: str, kind: str = "") -> Box:
        return drawing.box(Box(x=x, y=y, name=name, lines=lines, width=wide, kind=kind))

    check = box(left, 65, "1. Check the settings", "all mistakes are reported at once")
    probe = box(left, 140, "2. Try the store", "16 writers race, one may win")
    probes = box(right, 140, "probe objects", "removed again")
    plan = box(left, 222, "3. List and plan", "new, changed, unchanged or gone;", "many partitions in one task")
    inputs = box(right, 222, "input objects", "name, size and ETag of each;", "the index of the last version")
    send = box(left, 312, "4. Start the tasks", "through the engine")
    read = box(middle, 312, "5. Read", "only the object that was listed")
    fit = box(middle, 390, "6. Fit and judge", "in this process; a bad partition", "becomes a row, not an error")
    put = box(middle, 472, "7. Put the model", "create-only, named by its SHA-256")
    model = box(right, 472, "models/<key>/<sha256>", "never overwritten")
    tell = box(middle, 545, "8. Put the outcome", "names only models that are stored")
    segment = box(right, 545, "runs/<id>/ outcome segments", "one name for each attempt")
    barrier = box(
        left, 618, "9. Barrier", "one outcome for each key; planned =", "trained + unchanged + skipped + failed"
    )
    release = box(left, 700, "10. Release", "compare-and-swap on the version", kind="main")
    index = box(right, 700, "index/ (Delta table)", "one commit is one version", kind="main")
    result = box(left, 770, "11. result.json and exit code")
    result_file = box(right, 770, "runs/<id>/result.json")
    for upper, lower in [
        *((check, probe), (probe, plan), (plan, send), (read, fit), (fit, put), (put, tell)),
        *((barrier, release), (release, result)),
    ]:
        drawing.down(upper, lower)
    for one, other in [
        *((probe, probes), (send, read), (put, model), (tell, segment), (release, index), (result, result_file)),
    ]:
        drawing.across(one, other)
    drawing.across(inputs, plan)
    drawing.arrow((right, inputs.y + inputs.height / 2), (right, 312), (middle + wide / 2 + 2, 312))
    bottom = segment.y + segment.height / 2
    drawing.arrow((right, bottom), (right, barrier.y), (left + wide / 2 + 2, barrier.y))
    return drawing.svg()


def life_of_a_model() -> str:
    """Trained, judged, published, scored, replaced, gone."""
    drawing = Drawing(
        width=900,
        height=610,
        title="The life of a model",
        about="A key is trained. The gate compares the new model with the live one. A promoted model is live; a kept "
        "one waits as challenger. A live model predicts. It becomes stale when a later training fails, and leaves the "
        "set when a newer model replaces it or its key is retired. gc removes its file when no kept version names it.",
    )
    width = 236

    def box(x: float, y: float, name: str, *lines: str, kind: str = "") -> Box:
        return drawing.box(Box(x=x, y=y, name=name, lines=lines, width=width, kind=kind))

    planned = box(140, 70, "Planned", "the key is new, or its data, recipe,", "or libraries changed")
    trained = box(450, 70, "Trained", "fitted, loaded back, stored", "under its SHA-256")
    failed = box(760, 70, "Failed or skipped", "a row with a reason;", "no new model")
    judged = box(450, 180, "Judged", "compared with the live model on rows", "that neither has seen (promote.metric)")
    challenger = box(140, 180, "Challenger", "kept back by the gate;", "its file stays")
    live = box(450, 310, "Live", "the row of its key names it", "in the current version", kind="main")
    stale = box(760, 310, "Stale", "still published, but the last", "training of its key failed", kind="main")
    scored = box(140, 310, "Used", "manyfit score, ModelSet:", "each prediction names the model")
    gone = box(760, 440, "Gone", "the input no longer has the key:", "input.on_gone keeps or retires it")
    replaced = box(450, 440, "In older versions only", "a newer model is live,", "or the key is retired")
    removed = box(450, 560, "Removed", "gc: no kept version names the file", kind="end")
    drawing.across(planned, trained)
    drawing.arrow((140, planned.y - planned.height / 2), (140, 14), (760, 14), (760, failed.y - failed.height / 2 - 2))
    drawing.down(trained, judged)
    drawing.across(judged, challenger, -8)
    drawing.down(judged, live)
    drawing.text(460, 252, "promoted, first, or no gate")
    drawing.text(300, 165, "kept", anchor="middle")
    drawing.arrow(
        (200, challenger.y + challenger.height / 2), (200, 245), (380, 245), (380, live.y - live.height / 2 - 2)
    )
    drawing.text(210, 238, "manyfit promote")
    drawing.across(live, scored)
    drawing.across(live, stale, -8)
    drawing.across(stale, live, 12)
    drawing.down(live, replaced, -20, -20)
    drawing.arrow((490, replaced.y - replaced.height / 2), (490, live.y + live.height / 2 + 2), back=True)
    drawing.text(498, 380, "manyfit rollback")
    drawing.down(stale, gone)
    drawing.arrow((530, live.y + live.height / 2), (700, gone.y - gone.height / 2 - 2))
    drawing.across(gone, replaced)
    drawing.down(replaced, removed)
    drawing.arrow((760, failed.y + failed.height / 2), (760, stale.y - stale.height / 2 - 2))
    drawing.text(752, 190, "if the key has an older model", anchor="end")
    return drawing.svg()


PICTURES: dict[str, Callable[[], str]] = {
    "layers.svg": layers,
    "life-of-a-run.svg": life_of_a_run,
    "life-of-a-model.svg": life_of_a_model,
}


if __name__ == "__main__":
    sys.exit(written(PICTURES, IMAGES, sys.argv[1:], "python docs/make/diagrams.py"))
