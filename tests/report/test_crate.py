"""The crate of a run by the rules of RO-Crate 1.1, and `volforge verify`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import ROOT, volforge
from volforge.errors import VolforgeError
from volforge.report.crate import CRATE, files_of_run, read_crate, write_crate
from volforge.report.provenance import provenance
from volforge.report.verify import verify
from volforge.volume.folders import sha256_of, write_json

CONFIGURATION = {"cohorts": {"c": {"sheet": "/data/hospital/sheet.tsv", "root": "/data/zebulon", "licence": "CC0"}}}
REQUEST = {"report": {"title": "A run"}, "cohorts": {"c": {}}, "studies": ["s"], "configuration": CONFIGURATION}
FILES = {
    "report.html": b"<html>", "cohorts/c/scans.tsv": b"scan\n", "cohorts/c/scans/a/image.nii.gz": bytes(range(256)),
    "cohorts/c/scans/a/record.json": b"{}", "cohorts/c/recipes/r/a/image.b2nd": b"b" * 70,
    "studies/s/measures.tsv": b"study\n", "studies/s/table.json": b"{}", "studies/s/x/predict.json": b"{}",
    "studies/s/x/fold0/seed0/models/m/weights.safetensors": b"w" * 99,
    "studies/s/x/fold0/seed0/predictions/a b#1 %.nii.gz": b"p" * 33,
}  # fmt: skip
OTHERS = ("studies/old/measures.tsv", "cohorts/old/scans.tsv", "checkpoints/s/x.pt", "cohorts/c/scans/a/.volforge")


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for name, content in {**FILES, **dict.fromkeys(OTHERS, b"x")}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_json(folder / "report.json", REQUEST)
    write_json(folder / "provenance.json", provenance(CONFIGURATION, {"c": ["ab" * 32, "cd" * 32]}))
    write_crate(folder, REQUEST, json.loads((folder / "provenance.json").read_text()))
    return folder


def test_the_crate_keeps_the_rules_of_its_form(results):
    """https://www.researchobject.org/ro-crate/1.1: structure, root, data entities, references."""
    content = json.loads((results / CRATE).read_text(encoding="utf-8"))
    assert content["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {e["@id"]: e for e in content["@graph"]}
    assert len(entities) == len(content["@graph"])  # ids are unique
    assert all(e.get("@type") for e in entities.values())
    descriptor = entities["ro-crate-metadata.json"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities["./"]
    assert root["@type"] == "Dataset"
    assert all(root[k] for k in ("name", "description", "license"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", root["datePublished"])
    files = {i for i, e in entities.items() if e["@type"] == "File"}
    assert files == {p["@id"] for p in root["hasPart"]}  # each is reached from the root
    assert {unquote(f) for f in files} == {*FILES, "report.json", "provenance.json"}
    for name in files:
        assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", name)  # relative, encoded
        assert not name.startswith("/")
        path = results / unquote(name)
        assert entities[name]["sha256"] == sha256_of(path)
        assert entities[name]["contentSize"] == str(path.stat().st_size)
        assert "/" in entities[name]["encodingFormat"]
    for entity in entities.values():  # what is named is described
        for value in entity.values():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and not item["@id"].startswith("http"):
                    assert item["@id"] in entities
    run = entities["#run"]
    assert {o["@id"] for o in run["object"]} == {f"#input-{'ab' * 32}", f"#input-{'cd' * 32}"}
    assert entities[run["instrument"]["@id"]]["softwareRequirements"]
    assert "CC0" in entities["#terms"]["description"]


def test_nothing_private_stands_in_crate_and_provenance(results):
    for name in (CRATE, "provenance.json"):
        text = (results / name).read_text(encoding="utf-8")
        assert "hospital" not in text
        assert "zebulon" not in text
        assert ".../sheet.tsv" in text or name == CRATE


def test_a_changed_byte_anywhere_is_found_and_named(results):
    assert verify(results).is_good
    for name in read_crate(results):
        path = results / name
        kept = path.read_bytes()
        for at in {0, len(kept) // 2, len(kept) - 1}:
            path.write_bytes(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :])
            verdict = verify(results)
            assert list(verdict.changed) == [name]
            assert not verdict.is_good
        path.write_bytes(kept + b"\n")
        assert "bytes" in verify(results).changed[name]
        path.write_bytes(kept)
    assert verify(results).whole == len(FILES) + 2


def test_what_is_missing_added_or_led_elsewhere_is_named(results, tmp_path):
    (results / "studies/s/table.json").unlink()
    (results / "studies/s/new.tsv").write_text("x")
    (tmp_path / "secret").write_bytes(FILES["cohorts/c/scans.tsv"])
    (results / "cohorts/c/scans.tsv").unlink()
    (results / "cohorts/c/scans.tsv").symlink_to(tmp_path / "secret")
    verdict = verify(results)
    assert (verdict.missing, verdict.added, verdict.links) == (
        ["studies/s/table.json"], ["studies/s/new.tsv"], ["cohorts/c/scans.tsv"]
    )  # fmt: skip
    assert "cohorts/c/scans.tsv" not in set(files_of_run(results, REQUEST))
    (results / "cohorts/c/out").symlink_to(tmp_path)  # a folder: not entered
    assert not any(n.startswith("cohorts/c/out") for n in files_of_run(results, REQUEST))


def test_a_crate_that_names_files_elsewhere_opens_none(results, tmp_path):
    content = json.loads((results / CRATE).read_text(encoding="utf-8"))
    (tmp_path / "outside").write_text("x")
    for name in ("../outside", str(tmp_path / "outside")):
        entity = {"@id": name, "@type": "File", "contentSize": "1", "sha256": sha256_of(tmp_path / "outside")}
        write_json(results / CRATE, {**content, "@graph": [*content["@graph"], entity]})
        assert verify(results).links == [name]


def test_the_command_prints_what_differs_and_knows_another_crate(results):
    good = volforge("verify", results)
    assert good.returncode == 0, good.stderr
    digest = sha256_of(results / CRATE)
    assert digest in good.stdout
    assert volforge("verify", results, "--expect", digest).returncode == 0
    (results / "studies/s/measures.tsv").write_bytes(b"studz\n")
    bad = volforge("verify", results, "--expect", digest)
    assert bad.returncode == 1
    assert "changed: studies/s/measures.tsv" in bad.stdout
    assert "1 files are not as the run has left them" in bad.stderr
    write_crate(results, REQUEST, json.loads((results / "provenance.json").read_text()))
    other = volforge("verify", results, "--expect", digest)
    assert other.returncode == 1
    assert "another one than expected" in other.stderr


@pytest.mark.parametrize("content", [None, "{", "[]", '{"@graph": 3}', '{"@graph": [{"@type": "File"}]}'])
def test_no_crate_or_a_damaged_one(results, content):
    (results / CRATE).unlink()
    if content is not None:
        (results / CRATE).write_text(content)
    with pytest.raises(VolforgeError) as caught:
        verify(results)
    assert caught.value.remedy


def checked(folder):
    """What the checker of RO-Crate finds."""
    where = ROOT / ".venv/checker"
    if not where.is_dir():
        pytest.skip("the checker of RO-Crate is not installed: make .venv/checker")
    program = Path(__file__).with_name("crate_checker.py")
    own = {**os.environ, "PYTHONPATH": str(where)}
    done = subprocess.run(
        [sys.executable, str(program), str(folder)], env=own, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_checker_of_ro_crate_asks_for_an_author_and_a_publisher_and_for_nothing_else(results):
    found = checked(results)
    assert {(f["severity"], f["says"].split(" SHOULD ")[0][:24]) for f in found} <= {
        ("RECOMMENDED", "The Root Data Entity"),  # an author, whom the run does not know
        ("RECOMMENDED", "The `publisher` property"),
    }
    crate = json.loads((results / CRATE).read_text())
    for entity in crate["@graph"]:
        if entity["@id"] == "./":
            del entity["datePublished"]
    (results / CRATE).write_text(json.dumps(crate))
    assert any(f["severity"] == "REQUIRED" for f in checked(results))
