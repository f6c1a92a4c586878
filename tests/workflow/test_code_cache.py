"""What the code hash keeps of modules from one process to the next."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.workflow.code_copies import forget
from volforge.workflow import code_hash as module
from volforge.workflow.code_hash import code_hash, keep_in

ENTRY = "volforge.cli.scan:label_"
WRITER = """
import sys
from pathlib import Path
from volforge.workflow.code_hash import code_hash, keep_in
for _ in range(20):
    keep_in(Path(sys.argv[1]))
    print(code_hash(sys.argv[2]))
    from volforge.workflow import code_hash as module
    module._known.clear()
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The file, as a process leaves it that asked for one hash."""
    forget(monkeypatch)
    file = tmp_path / ".snakemake" / "code.json"
    keep_in(file)
    code_hash(ENTRY)
    forget(monkeypatch)
    yield file
    forget()


@pytest.fixture
def expected():
    return code_hash(ENTRY)


def poison(file, **other):
    """Change what is kept of every module; returns the content."""
    content = json.loads(file.read_text())
    for part in content["parts"].values():
        part["text"] = "poison"
    file.write_text(json.dumps({**content, **other}))


def test_what_is_kept_is_used_without_parsing(expected, kept, monkeypatch):
    monkeypatch.setattr(module.code_parts, "of_module", None)  # a call would fail
    monkeypatch.setattr(module.code_parts, "of_command", None)
    keep_in(kept)
    before = kept.stat()
    assert code_hash(ENTRY) == expected
    after = kept.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)  # nothing new, nothing written
    poison(kept)
    forget(monkeypatch)
    keep_in(kept)
    assert code_hash(ENTRY) != expected


def test_what_another_version_kept_is_not_used(expected, kept):
    poison(kept, version="older")
    keep_in(kept)
    assert code_hash(ENTRY) == expected
    assert "poison" not in kept.read_text()


def test_the_version_is_that_of_the_hashing_code_and_of_python(tmp_path, monkeypatch):
    seen = {module._version()}
    for name, target in (("code_hash.py", module), ("code_parts.py", module.code_parts)):
        with monkeypatch.context() as patch:
            file = tmp_path / name
            file.write_text("# other code\n")
            patch.setattr(target, "__file__", str(file))
            module._version.cache_clear()
            seen.add(module._version())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", SimpleNamespace(major=3, minor=99))
        module._version.cache_clear()
        seen.add(module._version())
    module._version.cache_clear()
    assert len(seen) == 4


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"version": 1, "parts": {}}', "{" * 5000, "\0\0", "cut"])
def test_a_broken_or_foreign_file_counts_as_empty_and_is_replaced(expected, kept, text):
    whole = kept.read_text()
    kept.write_text(whole[: len(whole) // 2] if text == "cut" else text)
    keep_in(kept)
    assert code_hash(ENTRY) == expected
    assert json.loads(kept.read_text())["version"] == module._version()


def test_bytes_that_are_no_text_count_as_empty(expected, kept):
    kept.write_bytes(b"\xff\xfe\x00")
    keep_in(kept)
    assert code_hash(ENTRY) == expected


def test_what_another_process_found_meanwhile_stays(kept):
    keep_in(kept)
    content = json.loads(kept.read_text())
    content["parts"]["of another process"] = next(iter(content["parts"].values()))
    kept.write_text(json.dumps(content))
    code_hash("volforge.losses.dice:SoftDice")
    parts = json.loads(kept.read_text())["parts"]
    assert "of another process" in parts
    assert len(parts) > len(content["parts"])


def test_the_file_does_not_grow_without_end(kept, monkeypatch):
    content = json.loads(kept.read_text())
    old = {f"old {n}": next(iter(content["parts"].values())) for n in range(module.MOST)}
    kept.write_text(json.dumps({**content, "parts": {**content["parts"], **old}}))
    keep_in(kept)
    code_hash("volforge.losses.dice:SoftDice")
    parts = json.loads(kept.read_text())["parts"]
    assert set(parts) == module._asked
    code_hash(ENTRY)  # forgotten with the rest, found again and kept
    assert set(json.loads(kept.read_text())["parts"]) == module._asked > set(parts)


def test_processes_that_write_at_the_same_time_do_not_break_it(tmp_path):
    file = tmp_path / ".snakemake" / "code.json"
    entries = ["volforge.errors:VolforgeError", "volforge.cli.scan:label_", "volforge.losses.dice:SoftDice"]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), e], stdout=subprocess.PIPE, text=True)
        for e in entries
    ]
    for writer, entry in zip(writers, entries, strict=True):
        printed = writer.communicate()[0]
        assert writer.returncode == 0
        assert printed.split() == [code_hash(entry)] * 20
    assert json.loads(file.read_text())["version"] == module._version()
    assert [f.name for f in file.parent.iterdir()] == ["code.json"]
