"""The folder for temporary files of a run's workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from job.engine.scratch import Scratch
from job.errors import ConfigurationError


def test_each_run_has_a_folder_of_its_own_which_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    one, other = (Scratch(str(tmp_path / "scratch")) for _ in range(2))
    (Path(one.folder) / "deep").mkdir()
    (Path(one.folder) / "deep" / "file").touch()

    one.remove()

    assert list((tmp_path / "scratch").iterdir()) == [Path(other.folder)]


def test_a_folder_that_cannot_be_made_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"run\.scratch: no folder .* can be made"):
        Scratch(str(tmp_path / "file"))
