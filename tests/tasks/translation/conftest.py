"""The cohort of heads, imported and cut once for all tests of translation."""

import pytest

from tests.tasks.translation.made import cohort


@pytest.fixture(scope="session")
def heads(tmp_path_factory):
    """`scans.tsv` of the cohort; see `tests.tasks.translation.made`."""
    return cohort(tmp_path_factory.mktemp("heads"))
