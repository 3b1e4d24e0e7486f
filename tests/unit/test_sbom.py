"""The image's bill of materials, where the base image decides what there is to list."""

from __future__ import annotations

import platform
from pathlib import Path

from tests.support.script import script

SCRIPT = Path(__file__).resolve().parents[2] / "docker/sbom.py"


def test_python_itself_is_listed_where_it_is_no_debian_package() -> None:
    sbom = script(SCRIPT)

    (listed,) = sbom.interpreter(Path("/usr/local"))

    assert (listed["name"], listed["version"]) == ("python", platform.python_version())
    assert sbom.interpreter(Path("/usr")) == [], "Debian's is in the list of its packages"
