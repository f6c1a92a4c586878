"""Tests of a group run on one worker: what they share is made once, and one cluster runs at a time."""

import pytest


@pytest.mark.xdist_group("told")
def test_workers_are_told_of_groups(request):
    """It was: with another version of pytest every worker made everything that is shared, and nothing said so."""
    if not hasattr(request.config, "workerinput"):
        pytest.skip("all tests run on one worker")
    assert request.node.nodeid.endswith("@told")


@pytest.fixture(scope="module")
def shared():
    return object()


def test_what_shares_a_fixture_of_its_module_is_a_group(request, shared):
    assert [m.args[0] for m in request.node.iter_markers("xdist_group")] == ["tests/test_groups.py"]


def test_what_shares_nothing_is_none(request):
    assert list(request.node.iter_markers("xdist_group")) == []
