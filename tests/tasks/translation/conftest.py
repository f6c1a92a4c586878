"""The cohort of heads, imported and cut once for all tests of translation."""

from pathlib import Path

import pytest

from tests.tasks.translation.made import cohort
from volforge.components import OWN_CODE


@pytest.fixture(scope="session")
def heads(tmp_path_factory):
    """`scans.tsv` of the cohort; see `tests.tasks.translation.made`."""
    return cohort(tmp_path_factory.mktemp("heads"))


@pytest.fixture(autouse=True)
def _own_code(monkeypatch):
    """A file that a model names is only run where the user names it too: the toys of these tests."""
    monkeypatch.setenv(OWN_CODE, str(Path(__file__).with_name("toys.py")))
