"""A small run of hostile and damaged scans from end to end: what it lists, what stays harmless, what stays private."""

import csv
import json
import re
import struct

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from tests.conftest import ROOT, snakemake
from tests.dicom.files import phantom, write_series
from tests.hostile.damage import small_ct

HTML = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ODD = (
    "$(touch owned)", "`touch owned`", "a;touch owned;", "a|touch owned", "a\n touch owned\n", "a' 'b\" \"c",
    "{scan}{{x}}%s%n", "-rf --help", "*?[a]~", "&& touch owned #",
)  # fmt: skip
SECRET = "Zebulon"  # of the patient; it stands in paths, headers and tags, and must stand in nothing that is made


def secret_scan(path, array=None):
    """A volume whose header names the patient wherever NIfTI lets it."""
    image = nib.Nifti1Image(small_ct() if array is None else array, np.diag([2.0, 2, 2, 1]))
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"{SECRET} 1"
    image.header["aux_file"] = f"{SECRET} 2"
    image.header["intent_name"] = f"{SECRET} 3"
    image.header["db_name"] = f"{SECRET} 4"
    image.header.extensions.append(Nifti1Extension("comment", f"{SECRET} 5".encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def without_a_number(path):
    array = small_ct().astype(np.float32)
    array[3, 4, 5] = np.nan
    secret_scan(path, array)


def short(path):
    secret_scan(path)
    path.write_bytes(path.read_bytes()[:900])


def petabyte(path):
    secret_scan(path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<4h", content, 40, 3, 32767, 32767, 32767)
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of twelve scans, four of them bad, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    data = tmp_path_factory.mktemp("elsewhere") / SECRET
    rows = []
    for k, odd in enumerate(ODD[:7]):
        name = f"{odd} {SECRET}.nii.gz"
        plain = " ".join(odd.split())  # the sheet's other cells refuse line breaks
        secret_scan(data / name)
        rows.append((f"{k} {plain}", f"odd-{k}", name, plain, HTML))
    write_series(data / f"{SECRET} dicom", phantom((24, 22, 12)), spacing=(3, 3), step=(0, 0, 4),
                 patient={"PatientName": SECRET, "PatientID": SECRET, "PatientBirthDate": "19700101"})  # fmt: skip
    rows.append((HTML, "dicom", f"{SECRET} dicom", "", ""))
    for scan, damage, name in (
        ("nan", without_a_number, "n.nii.gz"), ("short", short, "s.nii.gz"), ("petabyte", petabyte, "p.nii"),
    ):  # fmt: skip
        damage(data / f"{SECRET}-{name}")
        rows.append((f"p {scan}", scan, f"{SECRET}-{name}", "", ""))
    rows.append(("p gone", "gone", f"{SECRET}-gone.nii.gz", "", ""))
    with (folder / "sheet.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("subject", "scan", "modality", "unit", "image", "contrast", "note"))
        writer.writerows([(s, scan, "CT", "hu", image, c, note) for s, scan, image, c, note in rows])
    (folder / "config.yaml").write_text(
        f"cohorts:\n  c: {{sheet: sheet.tsv, root: '{data}', on_bad_scan: exclude}}\nreport: {{title: '{HTML}'}}\n",
        encoding="utf-8",
    )
    return folder, snakemake("--profile", ROOT / "profiles/local", "--configfile", "config.yaml", cwd=folder), data


def test_bad_scans_are_listed_and_the_study_goes_on(run):
    folder, done, _ = run
    assert done.returncode == 0, done.stderr[-3000:]
    with (folder / "results/cohorts/c/scans.tsv").open(encoding="utf-8", newline="") as table:
        rows = {r["scan"]: r for r in csv.DictReader(table, delimiter="\t")}
    assert len(rows) == 12
    refused = {s: r["reason"] for s, r in rows.items() if r["accepted"] == "0"}
    expected = {"nan": "NaN", "short": "damaged", "petabyte": "promises 32767 x 32767 x 32767", "gone": "not found"}
    assert set(refused) == set(expected)
    for scan, reason in expected.items():
        assert reason in refused[scan]
        assert refused[scan].startswith("image: ")


def test_nothing_ran_from_names(run):
    folder, _, data = run
    for place in (folder, data, folder.parent):
        assert not list(place.rglob("owned"))


def test_html_in_names_is_text_on_the_page(run):
    page = (run[0] / "results/report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert not re.search(r"<img[^>]*onerror", page)


def test_patients_and_paths_reach_nothing_that_is_made(run):
    """Results, logs, journal and page, names of files included. Snakemake's own log and records stay in `.snakemake`."""
    folder, _, data = run
    words = [SECRET.encode(), str(data.parent).encode(), b"19700101"]
    tops = ("results", "logs", "benchmarks", ".snakemake/volforge")
    made = [p for top in tops for p in (folder / top).rglob("*")]
    assert len(made) > 40
    assert any(p.name == "journal.jsonl" for p in made)
    found = []
    for path in made:
        content = unpacked(path) if path.is_file() else b""
        found += [(str(path.relative_to(folder)), w) for w in words if w in content or w in path.name.encode()]
    assert found == []


def unpacked(path):
    import gzip

    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def test_records_say_what_was_read_by_hash(run):
    record = json.loads((run[0] / "results/cohorts/c/scans/odd-0/record.json").read_text(encoding="utf-8"))
    assert record["source"]["image"]["name"] == ".nii.gz file"
    assert len(record["source"]["image"]["sha256"]) == 64
