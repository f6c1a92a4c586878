"""Pseudonyms: the same key gives the same ones, the key is private, and nothing of the names is left."""

import csv
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ball_ct, save, volforge
from volforge.cohort.pseudonyms import Pseudonyms, keep_key, open_key, pseudonymise_sheet, without_names
from volforge.cohort.sheet import SCAN, read_sheet
from volforge.errors import VolforgeError

SHEET = (
    "# Zebulon's clinic\nsubject\tscan\tmodality\timage\tframe\tfold\tborn\tage\n"
    "Zebulon\tzebulon_1\tCT\ta.nii.gz\t1.2.Zeb\t0\t1970\t50\nZebulon\tzebulon_2\tMR\t/abs/b.nii.gz\t1.2.Zeb\t0\t1970\t50\n"
    "Ann\tann\tCT\tsub/c.nii.gz\t\t1\t1980\t40\n"
)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/s.tsv").write_text(SHEET)
    return tmp_path


def rows(path):
    lines = [t for t in path.read_text().splitlines() if not t.startswith("#")]
    return list(csv.DictReader(lines, delimiter="\t"))


def test_a_sheet_and_again_with_the_same_key(place):
    key = place / "aside/key.json"
    assert pseudonymise_sheet(place / "in/s.tsv", key, place / "out/s.tsv", ["age"]) == (3, 2)
    first = (place / "out/s.tsv").read_text()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for word in ("Zeb", "zeb", "Ann", "ann", "1970"):
        assert word not in first
    made = rows(place / "out/s.tsv")
    assert [r["age"] for r in made] == ["50", "50", "40"]
    assert made[0]["subject"] == made[1]["subject"] != made[2]["subject"]
    assert made[0]["frame"] == made[1]["frame"] != ""
    assert made[2]["frame"] == ""
    assert len({r["scan"] for r in made}) == 3
    read = read_sheet(place / "out/s.tsv", check_files=False)
    assert not read.problems
    assert [r.fold for r in read.rows] == [0, 0, 1]
    assert read.rows[0].files["image"].endswith("in/a.nii.gz")
    assert json.loads(key.read_text())["subjects"] == {made[0]["subject"]: "Zebulon", made[2]["subject"]: "Ann"}
    (place / "out/s.tsv").unlink()
    (place / "in/s.tsv").write_text(SHEET + "New\tnew\tCT\tn.nii.gz\t\t2\t1990\t30\n")
    pseudonymise_sheet(place / "in/s.tsv", key, place / "out/s.tsv", ["age"])
    assert (place / "out/s.tsv").read_text().startswith(first)
    assert len(json.loads(key.read_text())["subjects"]) == 3
    pseudonymise_sheet(place / "in/s.tsv", place / "aside/other.json", place / "out/t.tsv")
    assert not {r["subject"] for r in rows(place / "out/t.tsv")} & {r["subject"] for r in made}
    assert "age" not in rows(place / "out/t.tsv")[0]


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_are_valid_and_differ_with_subject_scan_and_key(one, other):
    names, others = Pseudonyms(b"k" * 32), Pseudonyms(b"l" * 32)
    for name in (one, other):
        assert SCAN.fullmatch(names.subject(name))
        assert SCAN.fullmatch(names.scan(name, one))
        assert names.subject(name) == Pseudonyms(b"k" * 32).subject(name)
        assert names.subject(name) != others.subject(name)
    assert names.frame("") == ""


def test_looks_alike_is_alike_and_a_shared_name_is_refused(monkeypatch):
    names = Pseudonyms(b"k" * 32)
    assert names.subject("Mu\u0308ller") == names.subject("M\u00fcller")
    monkeypatch.setattr(Pseudonyms, "_digest", lambda self, kind, text: "0" * 10)
    names.subject("a")
    with pytest.raises(VolforgeError, match="share a pseudonym"):
        names.subject("b")
    assert (
        without_names("p of Ann and Anna, Ann", ["Ann"], Pseudonyms(b"k" * 32))
        == "p of p0000000000 and Anna, p0000000000"
    )


def test_keys_lie_aside_and_private(place):
    key = place / "aside/key.json"
    keep_key(key, Pseudonyms(b"k" * 32, {"p1": "Ann"}))
    assert open_key(key) == Pseudonyms(b"k" * 32, {"p1": "Ann"})
    for where in ("results/key.json", "results/cohorts/key.json", "out/key.json"):
        (place / where).parent.mkdir(parents=True, exist_ok=True)
        with pytest.raises(VolforgeError, match="must not lie in a folder that is passed on"):
            pseudonymise_sheet(place / "in/s.tsv", place / where, place / "out/s.tsv")
    (place / "linked").symlink_to(place / "results")
    with pytest.raises(VolforgeError, match="must not lie"):
        open_key(place / "linked/key.json")
    key.chmod(0o640)
    with pytest.raises(VolforgeError, match="others may read the key file"):
        open_key(key)
    key.chmod(0o600)
    for content in ("{", "[]", '{"kind": "x"}', json.dumps({"kind": "volforge key of pseudonyms", "key": "00"})):
        key.write_text(content)
        with pytest.raises(VolforgeError, match="key file"):
            open_key(key)
    with pytest.raises(VolforgeError, match="no column born2"):
        pseudonymise_sheet(place / "in/s.tsv", place / "aside/k.json", place / "out/s.tsv", ["born2"])
    assert not (place / "aside/k.json").exists()


def test_discover_and_the_command(place):
    for name in ("Zebulon_A", "Zebulon_B"):
        save(place / f"data/{name}/ct.nii.gz", ball_ct())
    words = ("cohort", "discover", place / "data", "--layout", "pattern", "--pattern", "{subject}/ct.nii.gz",
             "--modality", "CT", "--pseudonymise", place / "aside/key.json")  # fmt: skip
    for out in ("one", "two"):
        done = volforge(*words, "--out", place / f"{out}/s.tsv")
        assert done.returncode == 0, done.stderr
    first, second = (rows(place / f"{out}/s.tsv") for out in ("one", "two"))
    assert [(r["subject"], r["scan"]) for r in first] == [(r["subject"], r["scan"]) for r in second]
    assert not any("Zeb" in r["subject"] + r["scan"] for r in first)
    assert stat.S_IMODE((place / "aside/key.json").stat().st_mode) == 0o600
    done = volforge("cohort", "pseudonymise", place / "in/s.tsv", place / "aside/key.json", "--out", place / "x/s.tsv")
    assert done.returncode == 0, done.stderr
    assert "3 scans of 2 subjects" in done.stdout
