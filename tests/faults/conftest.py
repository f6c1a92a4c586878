"""One undisturbed run for all tests of faults."""

import pytest

from tests.faults.local import Reference, undisturbed


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> Reference:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"), judged=False)
