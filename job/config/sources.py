"""The sources of settings: command line, environment, document. Each becomes a tree, or mistakes. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from job.config import document
from job.config.document import Listing, Node, Scalar, allows, branches, parse, value
from job.config.mistakes import Mistake, nearest, show
from job.config.redaction import HIDDEN, is_secret_setting, is_secret_text
from job.config.schema import describe, find, job_schema, section, settings
from job.config.settings import JobSettings, Section

PREFIX = "MANYFIT_"
CREDENTIAL = (
    "is or holds a credential: give it by the environment (AWS_ACCESS_KEY_ID ...), a profile or a role, never here"
)
_SHORT_FORMS = {"input.format": "type", "recipe.validation": "method", "score.missing_model": "policy"}
_HOME = {
    "input.uri",
    "output.uri",
    "models.uri",
    "models.public_key",
    "output.signing_key",
    "storage.ca",
    "storage.input.ca",
    "storage.output.ca",
    "recipe.function",
}
_PYTHON = ("recipe.estimator.", "recipe.fallback.")
_GLOBS = {"input.match", "input.include", "input.exclude"}
_SERVICE = re.compile(
    r"(.+?)_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class Source(PydanticBaseSettingsSource):
    """The settings of one source; pydantic-settings merges several sources.

    Parameters
    ----------
    kind
        ``argument``, ``env``, ``document`` or ``file``.
    home
        The folder that ``~`` stands for.
    secrets
        Credentials that the environment holds. A value that contains one is refused.
    document
        The kind of the document: `JobSettings` or `ScoringSettings`.
    """

    def __init__(
        self,
        kind: str,
        *,
        home: str | None = None,
        secrets: Iterable[str] = (),
        document: type[Section] = JobSettings,
    ) -> None:
        super().__init__(document)  # type: ignore[arg-type]
        self.kind = kind
        self.document = document
        self.tree: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.whole: set[str] = set()
        self.hidden: set[str] = set()
        self.mistakes: list[Mistake] = []
        self.broken = False
        self._home = home
        self._secrets = tuple(secrets)

    def __call__(self) -> dict[str, Any]:
        """The tree of values without the hidden settings."""
        return _without(self.tree, self.hidden)

    def find(self, path: str) -> dict[str, Any] | None:
        """The schema of one setting of the document; None if there is no such setting."""
        return find(path, self.document)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Never called: `__call__` returns the whole tree."""
        raise NotImplementedError

    def wrong(self, path: str, what: str, place: str, node: Node | None = None) -> None:
        """Record a mistake. The value of a scalar ``node`` is shown, unless it is a credential."""
        shown = None
        if isinstance(node, Scalar):
            shown = HIDDEN if is_secret_text(node.text, self._secrets) else show(node.text)
        self.mistakes.append(Mistake(path=path, what=what, where=place, value=shown))

    def graft(self, path: str, node: Node, place: str) -> None:
        """Put a value or a mapping of settings at ``path``. Unknown and refused settings become mistakes."""
        schema = self.find(path) if path else job_schema(self.document)
        inner = section(schema) if schema else None
        if schema is None:
            self._unknown(path, node, place)
        elif inner is None:
            self._leaf(path, schema, node, place)
        elif isinstance(node, document.Mapping):
            for name, child in node.items.items():
                self.graft(f"{path}.{name}" if path else name, child, _line(place, child))
        elif isinstance(node, Scalar) and path in _SHORT_FORMS and not _is_null(node):
            short = f"{path}.{_SHORT_FORMS[path]}"
            self._leaf(short, self.find(short) or {}, node, place)
        elif not _is_null(node):
            self.broken = self.broken or not path
            what = f"is not a mapping of {', '.join(inner['properties'])}"
            self.wrong(path or place, what, place if path else "", node if path else None)

    def graft_text(self, path: str, texts: Sequence[str], place: str) -> None:
        """Put a value of the command line or the environment at ``path``. Several texts become one list."""
        key = _free_mapping(path, self.document)
        schema = self.find(path) or self.find(key or "")
        if schema is None or path == key:
            self._unknown(path, Scalar(text=texts[-1]), place)
        elif key is not None:
            self._below(key, path[len(key) + 1 :], Scalar(text=texts[-1]), place)
        elif len(texts) > 1 and not allows(schema, []):
            self.wrong(path, f"is given {len(texts)} times", place)
        else:
            nodes = [self._node(path, schema, text, place) for text in texts]
            if len(nodes) == 1 and nodes[0] is not None:
                self.graft(path, nodes[0], place)
            elif all(nodes):
                items = [
                    item for node in nodes if node for item in (node.items if isinstance(node, Listing) else [node])
                ]
                self.graft(path, Listing(items=items), place)

    def put(self, parts: Sequence[str], item: Any) -> None:
        """Set one leaf of the tree."""
        branch = self.tree
        for name in parts[:-1]:
            if not isinstance(branch.get(name), dict):
                branch[name] = {}
            branch = branch[name]
        branch[parts[-1]] = item

    def _leaf(self, path: str, schema: dict[str, Any], node: Node, place: str) -> None:
        if not self._clean(path, node, place):
            return
        if isinstance(node, document.Mapping) and path != "spark.conf":
            self.whole.add(path)
        item = value(node, schema)
        if isinstance(item, str) and path in _HOME and item.startswith("~/") and self._home:
            item = f"{self._home}{item[1:]}"
        self.put(path.split("."), item)
        self.places[path] = place

    def _below(self, path: str, name: str, node: Scalar, place: str) -> None:
        """Set one name of a free mapping: ``--spark.conf.spark.executor.memory 2g``, ``--recipe.estimator.alpha 1``."""
        rest: Any = next(
            (
                each["additionalProperties"]
                for each in branches(self.find(path) or {})
                if "additionalProperties" in each
            ),
            {},
        )
        names = name.split(".") if rest is True or not rest else [name]
        if any(each.isdigit() for each in names):
            self.wrong(f"{path}.{name}", f"reaches into a list: give the whole of {path}", place)
        elif self._clean(path, document.Mapping(items={names[-1]: node}), place):
            self.put([*path.split("."), *names], value(node, rest if isinstance(rest, dict) else {}))
            self.places.setdefault(path, place)

    def _node(self, path: str, schema: dict[str, Any], text: str, place: str) -> Node | None:
        opens = text.lstrip()[:1]
        if (opens == "{" and (section(schema) or allows(schema, {}))) or (opens == "[" and allows(schema, [])):
            node, mistakes = parse(text)
            if node is not None and not mistakes:
                return node
            # A glob may begin with a bracket: [ab]*.csv
            if path not in _GLOBS or text.rstrip().endswith("]"):
                self.mistakes += [Mistake(path=path, what=str(each), where=place) for each in mistakes]
                return None
        if allows(schema, []) and not allows(schema, "") and not _is_null(Scalar(text=text)):
            return Listing(items=[Scalar(text=text, plain=False)])
        return Scalar(text=text)

    def _unknown(self, path: str, node: Node, place: str) -> None:
        name = path.rpartition(".")[2]
        if is_secret_setting(path, name):
            self.mistakes.append(Mistake(path=path, what=CREDENTIAL, where=place, value=HIDDEN))
            return
        above = self.find(path.rpartition(".")[0]) if "." in path else job_schema(self.document)
        siblings = (section(above or {}) or {}).get("properties", {})
        meant = nearest(path, [each for each, _ in settings(job_schema(self.document))], siblings=siblings)
        known = f"; known here: {', '.join(siblings)}" if siblings and not meant else ""
        what = f"no such setting; did you mean {meant}?" if meant else f"no such setting{known}"
        if isinstance(node, document.Mapping) and {"input", "recipe", "output"} & node.items.keys():
            what = f"no such setting; the job is what stands below {path}: give that as the document"
        self.wrong(path, what, place, node)

    def _clean(self, path: str, node: Node, place: str) -> bool:
        """Whether a value is free of credentials; each one found becomes a mistake."""
        if isinstance(node, Scalar):
            secret = is_secret_text(node.text, self._secrets)
            if secret:
                self.mistakes.append(Mistake(path=path, what=CREDENTIAL, where=place, value=HIDDEN))
            elif node.plain and node.text == "None" and path.startswith(_PYTHON):
                self.wrong(path, "is a text: None is written null in YAML, and a text in quotes", place, node)
            return not secret
        fine = True
        for name, child in enumerate(node.items) if isinstance(node, Listing) else node.items.items():
            full = f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}"
            if isinstance(name, str) and is_secret_setting(full, name):
                self.mistakes.append(Mistake(path=full, what=CREDENTIAL, where=_line(place, child), value=HIDDEN))
                fine = False
            else:
                fine = self._clean(full, child, _line(place, child)) and fine
        return fine


def from_text(source: Source, text: str, name: str) -> Source:
    """Fill a source from a YAML or JSON text; messages call it ``name``."""
    node, mistakes = parse(text)
    for each in mistakes:
        place = ", ".join(
            f"{what} {number}" for what, number in (("line", each.line), ("column", each.column)) if number
        )
        source.wrong(name, str(each), place)
    source.broken = bool(mistakes) and node is None
    if node is not None:
        source.graft("", node, name)
    return source


def from_arguments(source: Source, arguments: Sequence[str]) -> Source:
    """Fill a source from ``--section.name value`` and ``--section.name=value``."""
    given: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        path, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not path:
            source.wrong(
                argument if not is_secret_text(argument) else HIDDEN,
                "is not an argument of this command",
                "command line",
            )
        elif equals:
            given.setdefault(path, []).append(text)
        elif rest and not rest[0].startswith("--"):
            given.setdefault(path, []).append(rest.pop(0))
        elif source.find(path) and allows(source.find(path) or {}, True):
            given.setdefault(path, []).append("true")
        elif source.find(path):
            source.wrong(f"--{path}", f"needs a value: {describe(source.find(path) or {})}", "command line")
        else:
            given.setdefault(path, []).append("")
    for path, texts in given.items():
        source.graft_text(path, texts, "command line")
    return source


def from_environment(source: Source, env: Mapping[str, str]) -> Source:
    """Fill a source from ``MANYFIT_SECTION__NAME`` variables, except those that Kubernetes makes for services."""
    known = {PREFIX + path.upper().replace(".", "__"): path for path, _ in settings(job_schema(source.document))}
    for name in sorted(env):
        if not name.upper().startswith(PREFIX) or _is_service_link(name, env):
            continue
        if name in known:
            source.graft_text(known[name], [env[name]], f"environment, {name}")
        elif is_secret_setting(name, name.rpartition("__")[2]):
            source.mistakes.append(Mistake(path=name, what=CREDENTIAL, where="environment", value=HIDDEN))
        else:
            whole = next(
                (
                    each
                    for each in known
                    if name.startswith(f"{each}__") and _free_mapping(known[each] + ".x", source.document)
                ),
                None,
            )
            meant = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
            what = f"no such setting; did you mean {meant[0]}?" if meant else "no such setting"
            what = f"no such setting; give the whole mapping as {whole}={{...}}" if whole else what
            source.wrong(name, what, "environment", Scalar(text=env[name]))
    return source


def _is_service_link(name: str, env: Mapping[str, str]) -> bool:
    match = _SERVICE.fullmatch(name)
    return bool(match) and f"{match[1]}_SERVICE_HOST" in env  # type: ignore[index]


def _free_mapping(path: str, document: type[Section]) -> str | None:
    """The setting that ``path`` points into, if it is a mapping with names of the user's own; else None."""
    parts = path.split(".")
    for size in range(len(parts) - 1, 0, -1):
        schema = find(".".join(parts[:size]), document)
        if schema is not None:
            return ".".join(parts[:size]) if allows(schema, {}) and not section(schema) else None
    return None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.plain and node.text in ("", "~", "null", "Null", "NULL")


def _line(place: str, node: Node) -> str:
    if node.line is None or place.startswith(("command line", "environment")):
        return place
    return f"{place.partition(', line ')[0]}, line {node.line}"


def _without(tree: dict[str, Any], hidden: set[str], above: str = "") -> dict[str, Any]:
    return {
        name: _without(item, hidden, f"{above}{name}.") if isinstance(item, dict) else item
        for name, item in tree.items()
        if f"{above}{name}" not in hidden
    }
