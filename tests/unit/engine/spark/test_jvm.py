"""The environment of a local JVM: whatever the user's locale is, files have the names that Python gives them."""

from __future__ import annotations

import pytest

from job.engine.spark import jvm


@pytest.mark.parametrize(
    "environ",
    [{}, {"LC_ALL": "C"}, {"LANG": "POSIX"}, {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, {"LANG": "de_DE.ISO-8859-1"}],
)
def test_a_locale_that_is_not_unicode_is_replaced_for_java(environ: dict[str, str]) -> None:
    assert jvm.unicode(environ) == {"LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize(
    "environ", [{"LANG": "C.UTF-8"}, {"LC_ALL": "de_DE.utf8", "LANG": "C"}, {"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}]
)
def test_a_unicode_locale_is_left_as_it_is(environ: dict[str, str]) -> None:
    assert jvm.unicode(environ) == {}
