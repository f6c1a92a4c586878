"""`volforge implant defects`: a sheet of complete skulls becomes a cohort; as docs/defects.md prints it."""

import shlex
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tests.conftest import ROOT, save
from tests.tasks.implant.skulls import head_ct
from volforge.cli import main
from volforge.cohort.phantoms import skull as phantom
from volforge.cohort.sheet import read_sheet
from volforge.tasks.implant.strata import stratum_of
from volforge.volume.folders import read_json, sha256_of, write_json
from volforge.volume.geometry import reorientation_of
from volforge.volume.write import write_nifti

COMMANDS = [
    line for line in (ROOT / "docs/defects.md").read_text(encoding="utf-8").splitlines() if line.startswith("volforge ")
]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """The command line in this process: exit status, what it prints, what it complains of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["volforge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def skulls(tmp_path_factory):
    """Two phantom skulls, oblique and stored along other axes, one CT, and a row without a complete skull."""
    folder = tmp_path_factory.mktemp("skulls")
    for subject in ("a", "b"):
        scan = phantom.draw(1, subject, "burr_box", 4.0)
        for column in ("image", "defective"):
            write_nifti(folder / f"{subject}_{column}.nii.gz", scan.volumes[column], scan.grid)
    hu, spacing, parts = head_ct((3.0, 3.0, 3.0))
    hole = (hu < 100) & parts["skull"]
    assert not hole.any()
    save(folder / "ct.nii.gz", hu, np.diag([*spacing, 1.0]))
    rows = [
        "# licence: of the phantoms",
        "subject\tscan\tmodality\timage\tdefective\tsplit\tfold\tcentre\tplace",
        "a\ta\tmask\ta_image.nii.gz\ta_defective.nii.gz\ttrain\t1\tX\told",
        "b\tb.x\tmask\tb_image.nii.gz\t\ttest\t0\tY\told",
        "c\tc\tCT\tct.nii.gz\t\ttrain\t1\t\t",
        "d\td\tmask\t\tb_defective.nii.gz\ttrain\t1\t\t",
    ]
    (folder / "heads.tsv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_sheet_of_skulls_becomes_a_cohort_of_defects(run, skulls, tmp_path):
    status, printed, errors = run("implant", "defects", skulls / "heads.tsv", "out", "--per-skull", 3)
    assert status == 0, errors
    assert "left out: d: no complete skull" in printed
    table = read_sheet(tmp_path / "out/heads.tsv")
    assert table.problems == []
    assert "licence: of the phantoms" in table.comments
    assert [r.scan for r in table.rows] == [f"{s}-{i}" for s in ("a", "b.x", "c") for i in range(3)]
    assert {(r.subject, r.split, r.fold) for r in table.rows} == {
        ("a", "train", 1),
        ("b", "test", 0),
        ("c", "train", 1),
    }
    for row in table.rows:
        volumes = {c: nib.load(p) for c, p in row.files.items()}
        image, defective, implant = (np.asarray(volumes[c].dataobj) > 0 for c in ("image", "defective", "implant"))
        assert np.array_equal(image, defective | implant)
        assert not (defective & implant).any()
        affine = volumes["implant"].affine
        assert stratum_of(implant, image, affine) == (row.free["place"], row.free["size"])
        cm3 = implant.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
        assert float(row.free["size_cm3"]) == pytest.approx(cm3, abs=2e-3)
        record = read_json(tmp_path / f"out/{row.scan}_defect.json")
        assert record["kind"] == row.free["defect"]
        assert record["seed_words"] == [1, "heads", row.free["source_scan"], int(row.scan.rsplit("-", 1)[1])]
        if row.subject in "ab":  # on the grid of the source, and its skull
            source = nib.load(skulls / f"{row.subject}_image.nii.gz")
            assert np.array_equal(np.asarray(source.dataobj) > 0, image)
            assert np.array_equal(source.affine, affine)
            assert record["source_sha256"] == sha256_of(skulls / f"{row.subject}_image.nii.gz")
    assert {r.free["centre"] for r in table.rows} == {"X", "Y", ""}
    assert len({r.free["defect"] for r in table.rows[:3]}) == 3


def test_what_lies_there_is_kept_if_it_fits(run, skulls, tmp_path):
    command = ("implant", "defects", skulls / "heads.tsv", "out", "--per-skull", 1, "--kind", "sphere")
    assert run(*command)[0] == 0
    out = tmp_path / "out"
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    times = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    (out / "a-0_implant.nii.gz").write_bytes(b"damaged")
    (out / "b.x-0_defect.json").unlink()
    (out / "heads.tsv").unlink()
    assert run(*command)[0] == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    made_anew = {n for n, t in times.items() if (out / n).stat().st_mtime_ns != t}
    assert {n.split("-0")[0] for n in made_anew} == {"a", "b.x", "heads.tsv"}
    write_json(out / "c-0_defect.json", {**read_json(out / "c-0_defect.json"), "bone_hu": 300.0})
    assert run(*command)[0] == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert run(*command, "--seed", 2)[0] == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} != before


def test_a_skull_that_cannot_have_the_defect_is_named_and_no_sheet_is_written(run, skulls, tmp_path):
    scan = phantom.draw(1, "a", "burr_box", 4.0)
    low = scan.volumes["image"].copy()
    heights = np.moveaxis(np.indices(low.shape), 0, -1) @ scan.grid.affine[2, :3] + scan.grid.affine[2, 3]
    low[heights > 0] = 0
    write_nifti(tmp_path / "low.nii.gz", low, scan.grid)
    (tmp_path / "low.tsv").write_text("subject\tscan\tmodality\timage\nlow\tlow\tmask\tlow.nii.gz\n")
    status, _, errors = run("implant", "defects", "low.tsv", "out", "--per-skull", 1, "--place", "vertex")
    assert status == 1
    assert "scan low, defect 0" in errors
    assert "no vault at the place" in errors
    assert not (tmp_path / "out/low.tsv").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("out", "--kind", "cube"), "unknown kind of defects 'cube'"),
        (("out", "--place", "left"), "unknown place"),
        (("out", "--size", "tiny"), "unknown size"),
        ((".",), "would replace the one that is read"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(run, skulls, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(skulls)
    out, *rest = options
    out = skulls if out == "." else tmp_path / out
    status, _, errors = run("implant", "defects", skulls / "heads.tsv", out, "--per-skull", 1, *rest)
    assert status == 1
    assert words in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("p\ts\tmask\tlabels.nii.gz\t", "a mask has the values 0 and one other"),
        ("p\ts\tmask\tempty.nii.gz\t", "the mask is empty"),
        ("p\ts\tCT\tlabels.nii.gz\tarbitrary", "has no threshold of bone"),
        ("p\ts\tMR\tlabels.nii.gz\t", "no scan has a complete skull"),
        (f"p\t{'s' * 64}\tmask\tlabels.nii.gz\t", "leaves no room for an index"),
    ],
)
def test_files_that_are_no_complete_skull_are_refused(run, tmp_path, row, words):
    values = np.zeros((30, 30, 30), np.uint8)
    save(tmp_path / "empty.nii.gz", values)
    values[5:20], values[20:] = 1, 2
    save(tmp_path / "labels.nii.gz", values)
    (tmp_path / "sheet.tsv").write_text(f"subject\tscan\tmodality\timage\tunit\n{row}\n")
    status, _, errors = run("implant", "defects", "sheet.tsv", "out", "--per-skull", 1)
    assert status == 1
    assert words in errors
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*"))


def test_every_command_of_the_page_works_as_printed(run, tmp_path):
    for number in range(2):
        scan = phantom.draw(1, f"s{number}", "irregular", 4.0)
        turn = reorientation_of(scan.grid.affine)
        names = {"image": "complete_skull", "defective": "defective_skull", "implant": "implant"}
        for column, name in names.items():
            place = tmp_path / f"skullfix/training_set/{name}/{number:03d}.nrrd"
            place.parent.mkdir(parents=True, exist_ok=True)
            lps = turn.apply(scan.volumes[column])[::-1, ::-1]
            image = sitk.GetImageFromArray(lps.transpose(2, 1, 0))
            image.SetSpacing((4.0, 4.0, 4.0))
            sitk.WriteImage(image, str(place))
    assert len(COMMANDS) == 5
    for line in COMMANDS:
        status, printed, errors = run(*shlex.split(line)[1:])
        assert status == 0, (line, errors, printed)
    for name, count in (("defects", 8), ("hard", 12), ("craniectomies", 4)):
        rows = read_sheet(tmp_path / f"{name}/skulls.tsv").rows
        assert len(rows) == count
    hard = read_sheet(tmp_path / "hard/skulls.tsv").rows
    assert {r.free["size"] for r in hard} == {"large"}
    assert {r.free["place"] for r in hard} == {"frontal", "temporal"}
