"""The user's own function: from ``module:name`` or ``path/file.py:name``, as data that executors can load.

A function's file is sent with the recipe, and so are the files in ``recipe.code``: executors need no files. A module is
imported by name and must be in the image. ``digest`` covers the file, or every ``.py`` of the module's top-level
package, and everything in ``recipe.code``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from job.errors import ConfigurationError
from job.fit import watched_code
from job.fit.shipped_code import SHIPPED, DataFile, Source, ship
from job.fit.watched_code import Code, Watched


@dataclass(frozen=True, kw_only=True)
class UserFunction:
    """A function that is called with the frame and the key."""

    reference: str
    """the setting as the user wrote it"""
    module: str
    """name of the module; for a file a generated one that starts with `SHIPPED`"""
    name: str
    """name of the function in the module"""
    sources: tuple[Source, ...]
    """Python files to send: the function's own file (not for an installed module), then those of recipe.code"""
    digest: str
    """SHA-256 over the code, hex"""
    imports: tuple[str, ...]
    """top-level packages that the code imports"""
    files: tuple[DataFile, ...] = ()
    """files of recipe.code that are not Python"""

    def code(self) -> tuple[Code, ...]:
        """The Python files, with their paths when the recipe was made."""
        return tuple(Code(text=each.text, path=Path(each.home)) for each in self.sources if each.home)

    def covered(self) -> tuple[Path, ...]:
        """The other files that ``digest`` covers."""
        return tuple(Path(each.home) for each in self.files)

    def fingerprint_part(self) -> dict[str, str]:
        """Plain data that identifies the function itself."""
        told = {"name": self.name, "digest": self.digest}
        return told if self.module.startswith(SHIPPED) else {**told, "module": self.module}

    def roots(self) -> set[str]:
        """Top-level packages that the function's code imports, and the one of its own module."""
        return set(self.imports) | (set() if self.module.startswith(SHIPPED) else {self.module.split(".")[0]})

    def watched(self, roots: Iterable[str] = ()) -> Watched:
        """The code that the function runs, with digests or versions; ``roots`` are further packages."""
        return watched_code.watched(self.roots() | set(roots), self.code(), self.covered())

    def load(self) -> Callable[..., Any]:
        """The function itself, imported once per process."""
        return _load(self)

    def call(self, frame: Any, key: str, seed: int) -> Any:
        """Call the function with the frame, and with key and seed if it has arguments for them."""
        function = self.load()
        arguments, options = _arguments(function)
        positional = {"frame": frame, "key": key}
        by_name = {"key": key, "seed": seed}
        return function(*(positional[each] for each in arguments), **{each: by_name[each] for each in options})


def from_settings(
    reference: str,
    code: Sequence[str] | None,
    base: Path,
    *,
    section: str = "recipe",
    takes: Callable[[Callable[..., Any]], Any] | None = None,
    example: str = "fit(frame, key), or fit(frame)",
) -> UserFunction:
    """Find the function of a setting. Checks that it exists, can be imported, and can be called with its arguments.

    Parameters
    ----------
    reference, code, base
        The settings ``function`` and ``code``, and the folder for relative paths.
    section
        The section of the settings, for messages.
    takes
        Raises `TypeError` for a function with wrong arguments; the default checks the arguments of a recipe's function.
    example
        Examples of calls, for messages.

    Raises
    ------
    ConfigurationError
        The function or a file cannot be found, imported or called; the hint says what to do.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise ConfigurationError(
            f"{section}.function: {reference!r} is not module:function or path/file.py:function",
            hint="For example my_package.my_module:fit, or recipes/fit.py:fit.",
        )
    extra = list(_code_files(code or (), base, section))
    if place.endswith(".py") or "/" in place:
        path = base / place
        text = _text(path, f"{section}.function: {place}")
        digest = _digest([(place, text.encode())] + [(shown, data) for shown, data, _ in extra])
        main = Source(module=SHIPPED + digest[:16], path=place, text=text, home=str(path.absolute()))
        sources = (main, *(each for _, _, each in extra if isinstance(each, Source)))
        texts = [each.text for each in sources]
    else:
        main = None
        files = _package_files(place, base, section)
        digest = _digest([*files, *((shown, data) for shown, data, _ in extra)])
        sources = tuple(each for _, _, each in extra if isinstance(each, Source))
        texts = [data.decode("utf-8", "replace") for name_, data in files if name_.endswith(".py")]
    shipped = {each.module.split(".")[0] for each in sources}
    found = UserFunction(
        reference=reference,
        module=main.module if main else place,
        name=name,
        sources=sources,
        digest=digest,
        imports=tuple(sorted({root for text in texts for root in watched_code.imported(text)} - shipped)),
        files=tuple(each for _, _, each in extra if isinstance(each, DataFile)),
    )
    _check(found, section, takes or _arguments, example)
    return found


def _check(function: UserFunction, section: str, takes: Callable[[Callable[..., Any]], Any], example: str) -> None:
    where = f"{section}.function: {function.reference}"
    try:
        loaded = function.load()
    except ModuleNotFoundError as error:
        hint = f"Put the file that defines {error.name} into {section}.code, or install it in the image."
        raise ConfigurationError(f"{where} cannot be imported: {error}", hint=hint) from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{section}.function: {error.message}", hint=error.hint) from None
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        takes(loaded)
    except TypeError as error:
        raise ConfigurationError(f"{where}: {error}", hint=f"It is called as {example}.") from None


@lru_cache(maxsize=16)
def _load(function: UserFunction) -> Callable[..., Any]:
    if function.sources:
        ship(function.sources, function.files)
    module = importlib.import_module(function.module)
    try:
        found = getattr(module, function.name)
    except AttributeError:
        near = [each for each, value in vars(module).items() if inspect.isfunction(value) and not each.startswith("_")]
        raise ConfigurationError(
            f"{function.reference}: there is no {function.name!r}",
            hint=f"It has the functions {', '.join(near)}." if near else "It defines no function.",
        ) from None
    if not callable(found):
        raise ConfigurationError(f"{function.reference} is not a function")
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=16)
def _arguments(function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments by position (of frame and key), and those by name (of key and seed); TypeError for a wrong one."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    options = []
    arguments = ["frame"]
    if not positional and not any(each.kind == each.VAR_POSITIONAL for each in parameters):
        raise TypeError("it takes no argument")
    for each in parameters[1:] if positional else []:
        if each.name in ("key", "seed") and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            options.append(each.name)
        elif each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each is parameters[1]:
            arguments.append("key") if each.default is each.empty else None
        elif each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise TypeError(f"it needs an argument {each.name!r}, which nobody gives")
    return tuple(arguments), tuple(options)


def _code_files(code: Sequence[str], base: Path, section: str) -> Iterator[tuple[str, bytes, Source | DataFile]]:
    """Every file in ``recipe.code``: its name for the digest, its bytes, and the object to send."""
    for entry in code:
        path = base / entry
        if path.is_file():
            data = path.read_bytes()
            home = str(path.absolute())
            if path.suffix == ".py":
                yield entry, data, Source(module=path.stem, path=entry, text=data.decode(), home=home)
            else:
                yield entry, data, DataFile(home=home, data=data)
        elif path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
            folders = {path, *(parent for each in files for parent in each.parents if path in parent.parents)}
            for folder in sorted(folders):  # folders without __init__.py are packages, too
                if not (folder / "__init__.py").is_file():
                    module = ".".join((path.name, *folder.relative_to(path).parts))
                    yield (
                        f"{folder.relative_to(base)}/",
                        b"",
                        Source(module=module, path=str(folder), text="", package=True),
                    )
            for file in files:
                shown = file.relative_to(path).as_posix()
                data = file.read_bytes()
                yield f"{entry.rstrip('/')}/{shown}", data, _module(path, file, data)
        else:
            raise ConfigurationError(f"{section}.code: there is no file or folder {entry!r} below {base}")


def _module(root: Path, file: Path, data: bytes) -> Source | DataFile:
    home = str(file.absolute())
    if file.suffix != ".py":
        return DataFile(home=home, data=data)
    parts = [root.resolve().name, *file.relative_to(root).with_suffix("").parts]
    package = parts[-1] == "__init__"
    return Source(
        module=".".join(parts[:-1] if package else parts),
        path=str(file),
        text=data.decode(),
        package=package,
        home=home,
    )


def _package_files(module: str, base: Path, section: str) -> list[tuple[str, bytes]]:
    """The name and bytes of every ``.py`` in a module's top-level package."""
    root = module.split(".")[0]
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigurationError(f"{section}.function: {module!r} is not the name of a module")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        file = Path(*module.split(".")).with_suffix(".py")
        hint = "Install it in the image, or give a file: path/file.py:function."
        if (base / file).is_file():
            hint = f"There is a file of that name: write {file.as_posix()}:function."
        raise ConfigurationError(f"{section}.function: there is no module {module!r}", hint=hint)
    return [(name, path.read_bytes()) for name, path in watched_code.package_files(root) if name.endswith(".py")]


def _digest(files: Sequence[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, data in files:
        total.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()


def _text(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{where}: there is no such file below {path.parent}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where} cannot be read: {type(error).__name__}") from error
