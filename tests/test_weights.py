"""Public weights: only the known file is taken, wherever it comes from, and nothing in it runs."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from volforge import weights
from volforge.errors import VolforgeError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VOLFORGE_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A small file that stands for the weights `inception`."""
    path = tmp_path / "published.pth"
    torch.save({"a.weight": torch.arange(6.0).view(2, 3)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = replace(weights.REGISTRY["inception"], sha256=sha256, url=path.as_uri())
    monkeypatch.setitem(weights.REGISTRY, "inception", entry)
    return path


@pytest.fixture
def wrong(tmp_path):
    path = tmp_path / "wrong.pth"
    torch.save({"a.weight": torch.zeros(2, 3)}, path)
    return path


def test_the_addresses_name_the_hashes_they_are_checked_by():
    assert set(weights.REGISTRY) == {"inception", "alexnet"}
    for name, entry in weights.REGISTRY.items():
        assert entry.name == name
        assert len(entry.sha256) == 64
        assert entry.url.endswith(f"-{entry.sha256[:8]}.pth")
        assert entry.url.startswith("https://")
        assert entry.licence


def test_cache_folder_is_the_variables_else_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("VOLFORGE_WEIGHTS", str(tmp_path / "w"))
    assert weights.cache_folder() == tmp_path / "w"
    monkeypatch.delenv("VOLFORGE_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path / "volforge" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_folder() == Path.home() / ".cache" / "volforge" / "weights"


@pytest.mark.parametrize("local", [True, False], ids=["from a file", "from the address"])
def test_the_known_file_is_fetched_once(cache, known, local):
    content = known.read_bytes()
    assert weights.find("inception") is None
    found = weights.fetch("inception", str(known) if local else None)
    assert found == weights.cached("inception") == weights.find("inception")
    assert found.parent == cache
    assert found.read_bytes() == content
    assert [p.name for p in cache.iterdir()] == [found.name]
    known.unlink()
    assert weights.fetch("inception") == found


def test_another_file_is_refused_and_leaves_nothing(cache, known, wrong):
    with pytest.raises(VolforgeError, match="not the weights `inception`"):
        weights.fetch("inception", str(wrong))
    assert list(cache.iterdir()) == []
    known.write_bytes(wrong.read_bytes())  # what lies at the address has changed
    with pytest.raises(VolforgeError, match="not the weights `inception`"):
        weights.fetch("inception")
    assert list(cache.iterdir()) == []
    with pytest.raises(VolforgeError, match="not the weights"):
        weights.find("inception", str(wrong))


def test_a_damaged_file_in_the_cache_is_not_used(cache, known):
    weights.fetch("inception").write_bytes(b"cut off")
    with pytest.raises(VolforgeError, match="not the weights"):
        weights.find("inception")


def test_a_damaged_file_in_the_cache_is_fetched_anew(cache, known):
    weights.fetch("inception").write_bytes(b"cut off")
    assert weights.fetch("inception", str(known)).read_bytes() == known.read_bytes()


def test_without_connection_the_error_says_what_to_do(cache, known):
    known.unlink()
    with pytest.raises(VolforgeError, match="--from FILE"):
        weights.fetch("inception")
    assert list(cache.iterdir()) == []


def test_mistakes_get_words(cache, tmp_path):
    with pytest.raises(VolforgeError, match="known: inception, alexnet"):
        weights.fetch("resnet")
    with pytest.raises(VolforgeError, match="file not found"):
        weights.find("inception", str(tmp_path / "missing.pth"))
    with pytest.raises(VolforgeError, match="cannot be read"):
        weights.fetch("inception", str(tmp_path / "missing.pth"))


@pytest.mark.parametrize("zipped", [True, False], ids=["new", "legacy"])
def test_plain_weights_of_either_format_are_read(tmp_path, zipped):
    state = {"a.weight": torch.rand(3, 2), "b": torch.tensor(4)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = weights.load_state(tmp_path / "w.pth")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], state[k]) for k in state)


class Runs:
    """What a harmful file would hold."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False], ids=["new", "legacy"])
def test_a_file_with_code_is_refused_and_does_not_run(tmp_path, zipped):
    path, target = tmp_path / "w.pth", tmp_path / "made_by_the_file"
    torch.save({"a": torch.ones(1), "b": Runs(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(VolforgeError, match="not a file of plain weights"):
        weights.load_state(path)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04garbage", None])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    with pytest.raises(VolforgeError, match="not a file of plain weights"):
        weights.load_state(path)


@pytest.mark.parametrize("content", [torch.ones(3), 3, b"hello world"])
def test_a_file_that_holds_no_state_is_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(VolforgeError, match="not a file of plain weights"):
        weights.load_state(path)


def test_heads_of_lpips_come_with_the_package_and_are_checked(monkeypatch):
    path = weights.lpips_heads()
    assert "Richard Zhang" in path.with_suffix(".LICENSE").read_text()
    monkeypatch.setattr(weights, "LPIPS_HEADS_SHA256", "0" * 64)
    with pytest.raises(VolforgeError, match="not the known heads"):
        weights.lpips_heads()
