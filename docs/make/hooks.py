"""Hooks of mkdocs: the navigation, and links to files outside docs/.

The navigation has one section for each folder, with the pages in the order in which the folder's index.md links to
them.

Files of the repository that pages link to, outside docs/, become part of the site below `source/`. GitHub and an editor
follow `../../docker/Dockerfile` as it stands; a site has only what is built into it. So each page is searched for such
links, the files are added (Markdown as pages, everything else unchanged), and the links are rewritten. A link that
leads nowhere stays as it is, so that `mkdocs build --strict` fails on it.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
DOCS = "docs"
SECTIONS = ("tutorials", "how-to", "reference", "explanation", "decisions")
FOLDER = "source"
_TITLES = {"how-to": "How-to guides"}
LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")
REMOTE = re.compile(r"""<(?:script|link|img|iframe)\b[^>]+(?:src|href)=["']?https?://[^>]*""")
FENCE = re.compile(r"^(```|~~~)[\s\S]*?^\1", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Set the navigation; add what pages link to, and what those link to in turn."""
    known = tracked()
    config["nav"] = [
        {"Start": "index.md"},
        *({_title(each): navigation(each, known)} for each in SECTIONS),
        {"Questions": "faq.md"},
    ]
    todo = [f"{DOCS}/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(todo)
    while todo:
        page = todo.pop()
        for target in links(page, (ROOT / page).read_text(encoding="utf-8"), known):
            if target in seen or target.startswith(f"{DOCS}/"):
                continue
            seen.add(target)
            text = (ROOT / target).read_bytes()
            if target.endswith(".md"):
                todo.append(target)
                text = b"---\nsearch: {exclude: true}\n---\n\n" + text
            files.append(File.generated(config, place(target), content=text, inclusion=_unlisted()))
    return files


def navigation(section: str, known: set[str]) -> list[str]:
    """The pages of a folder, its index first. mkdocs warns of pages that the index leaves out."""
    index = f"{DOCS}/{section}/index.md"
    text = (ROOT / index).read_text(encoding="utf-8")
    pages = (resolved(index, match[2], known) or "" for match in LINK.finditer(text))
    own = (each for each in pages if each.startswith(f"{DOCS}/{section}/") and each.endswith(".md"))
    return [each.removeprefix(f"{DOCS}/") for each in dict.fromkeys([index, *own])]


def _title(section: str) -> str:
    return _TITLES.get(section, section.capitalize())


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Rewrite the links of one page."""
    uri = page.file.src_uri
    here = uri.removeprefix(f"{FOLDER}/") if uri.startswith(f"{FOLDER}/") else f"{DOCS}/{uri}"
    known = tracked()

    def rewritten(match: re.Match[str]) -> str:
        target = resolved(here, match[2], known)
        if target is None:
            return match[0]
        there = target.removeprefix(f"{DOCS}/") if target.startswith(f"{DOCS}/") else place(target)
        return match[1] + os.path.relpath(there, PurePosixPath(uri).parent) + match[3]

    return LINK.sub(rewritten, markdown)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuse a page that would load something from another site: the site works without the internet."""
    if found := REMOTE.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from another site: {found[0]}")
    return output


def links(page: str, text: str, known: set[str]) -> set[str]:
    """The files of the repository that a page links to."""
    found = (resolved(page, match[2], known) for match in LINK.finditer(FENCE.sub("", text)))
    return {each for each in found if each}


def resolved(page: str, link: str, known: set[str]) -> str | None:
    """The file that a link of a page leads to, as a path from the root; None for other sites and for nowhere."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return None
    path = os.path.normpath(PurePosixPath(page).parent / link)
    for each in (path, f"{path}/README.md", f"{path}/index.md"):
        if each in known:
            return each
    return None


def place(target: str) -> str:
    """Where a file outside docs/ lies in the site. Names that a web server treats in its own way get a suffix."""
    path = PurePosixPath(target)
    if path.name.startswith(".") or not path.suffix:
        return f"{FOLDER}/{path}.txt"
    return f"{FOLDER}/{path}"


@functools.cache
def tracked() -> set[str]:
    """The files of the repository; without git (a downloaded archive) those of the folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines())
    return {str(each.relative_to(ROOT)) for each in ROOT.rglob("*") if each.is_file()}


def _unlisted() -> Any:
    from mkdocs.structure.files import InclusionLevel

    return InclusionLevel.NOT_IN_NAV
