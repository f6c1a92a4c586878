"""Bad inputs: each gives a clear error with place and remedy, exit code non-zero, and leaves no file."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ball_ct, save, snakemake, volforge

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def nan(folder: Path) -> dict:
    array = ball_ct().astype(np.float32)
    array[3, 4, 5] = np.nan
    return {"image": save(folder / "a.nii.gz", array)}


def truncated(folder: Path) -> dict:
    path = save(folder / "a.nii.gz", ball_ct())
    path.write_bytes(path.read_bytes()[:900])
    return {"image": path}


def zero_axis(folder: Path) -> dict:
    header = nib.Nifti1Header()
    header.set_data_shape((10, 10, 10))
    content = bytearray(header.binaryblock + b"\0" * 4 + b"\0" * 2000)
    content[42 + 2 * 2 : 42 + 2 * 3] = (0).to_bytes(2, "little")
    path = folder / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    return {"image": path}


def flat_affine(folder: Path) -> dict:
    image = nib.Nifti1Image(ball_ct(), None)
    image.set_sform(np.array([[2, 0, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]]), 1)
    nib.save(image, folder / "a.nii.gz")
    return {"image": folder / "a.nii.gz"}


def sheared(folder: Path) -> dict:
    affine = AFFINE.copy()
    affine[0, 1] = affine[1, 2] = affine[2, 0] = 0.4  # no two axes perpendicular: no stack of slices
    return {"image": save(folder / "a.nii.gz", ball_ct(), affine)}


def with_labels(array: np.ndarray, affine: np.ndarray = AFFINE):
    def make(folder: Path) -> dict:
        return {
            "image": save(folder / "a.nii.gz", ball_ct()),
            "labels": save(folder / "l.nii.gz", array, affine),
        }

    return make


def image(array: np.ndarray, affine: np.ndarray = AFFINE, name: str = "a.nii.gz"):
    def make(folder: Path) -> dict:
        return {"image": save(folder / name, array, affine)}

    return make


def raw(name: str, content: bytes):
    def make(folder: Path) -> dict:
        (folder / name).write_bytes(content)
        return {"image": folder / name}

    return make


MAP = (ball_ct() > 0).astype(np.uint8)
SHIFTED = AFFINE + np.array([[0, 0, 0, 9.0], [0] * 4, [0] * 4, [0] * 4])

SCANS = {
    "truncated gzip": (truncated, "damaged or truncated"),
    "not a gzip": (raw("a.nii.gz", b"no volume"), "damaged or truncated"),
    "empty file": (raw("a.nii", b""), "damaged or truncated"),
    "unknown format": (raw("a.docx", b"x"), "unknown volume format"),
    "NaN": (nan, "1 values are NaN or infinite, the first at voxel (3, 4, 5)"),
    "4-D": (image(np.stack([ball_ct()] * 2, axis=-1)), "4-D"),
    "2-D": (image(ball_ct()[:, :, 0]), "2-D"),
    "zero-length axis": (zero_axis, "no length"),
    "non-invertible affine": (flat_affine, "not invertible"),
    "sheared affine": (sheared, "sheared by"),
    "colour": (
        image(np.zeros((9, 9, 9), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "not plain numbers",
    ),
    "micrometres as mm": (image(ball_ct(), np.diag([2000.0, 2000, 2000, 1])), "implausible"),
    "constant image": (image(np.full((20, 20, 20), -1000, np.int16)), "the image is empty"),
    "CT shifted by 1024": (image(ball_ct() + 1024), "look like HU + 1024"),
    "CT in arbitrary units": (image((ball_ct() > 0).astype(np.uint8) * 255), "no air near -1000 HU"),
    "label shape mismatch": (with_labels(MAP[:-1]), "the grid differs"),
    "label grid shifted": (with_labels(MAP, SHIFTED), "the grid differs"),
    "unknown label id": (with_labels(MAP * 9), "no structure has: 9"),
    "interpolated labels": (with_labels(MAP * 0.5), "not whole numbers"),
    "negative labels": (with_labels(MAP.astype(np.int16) - 2), "label ids from -2"),
}


@pytest.mark.parametrize("kind", SCANS)
def test_bad_scan_is_refused_and_leaves_nothing(tmp_path, kind):
    make, expected = SCANS[kind]
    (tmp_path / "settings.json").write_text('{"structures": {"ball": 1}}')
    files = make(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    words = [w for column, path in files.items() for w in (f"--{column}", path)]
    done = volforge("scan", "import", *words, "--settings", tmp_path / "settings.json", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert expected in done.stderr
    assert "remedy:" in done.stderr
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def config(folder: Path, sheet: str, extra: str = "") -> Path:
    path = folder / "config.yaml"
    path.write_text(f"cohorts:\n  c:\n    sheet: {sheet}\n{extra}")
    return path


HEAD = "subject\tscan\tmodality\timage\n"
SHEETS = {
    "empty sheet": ("", "the table is empty"),
    "wrong delimiter": ("subject;scan;modality;image\np;s;CT;a.nii.gz\n", "separated by semicolons"),
    "missing file": (HEAD + "p\ts\tCT\tnone.nii.gz\n", "file not found"),
    "duplicate scan": (HEAD + "p\ts\tCT\ta.nii.gz\nq\ts\tCT\ta.nii.gz\n", "stands already in line 2"),
    "unknown modality": (HEAD + "p\ts\tXR\ta.nii.gz\n", "unknown modality"),
    "fold that does not exist": ("subject\tscan\tmodality\timage\tfold\np\ts\tCT\ta.nii.gz\t9\n", "has 5 folds"),
    "stray white space": (HEAD + "p\ts \tCT\ta.nii.gz\n", "stray white space"),
}


@pytest.mark.parametrize("kind", SHEETS)
def test_bad_sheet_stops_the_run_before_any_job(tmp_path, kind):
    content, expected = SHEETS[kind]
    save(tmp_path / "a.nii.gz", ball_ct())
    (tmp_path / "sheet.tsv").write_text(content)
    file = config(tmp_path, "sheet.tsv")
    checked = volforge("validate", file)
    run = snakemake("--configfile", file, "--cores", "1", cwd=tmp_path)
    for done in (checked, run):
        assert done.returncode == 1
        text = done.stdout + done.stderr
        assert expected in text
        assert "sheet.tsv" in text
        assert "remedy:" in text
        assert "Traceback" not in text
    assert not (tmp_path / "results").exists()


def mixed_cohort(folder: Path, on_bad_scan: str) -> Path:
    """Two good scans, a truncated one, one with NaN, one that is missing; paths with spaces and shell words."""
    odd = folder / "data $(touch owned) 'x' ; & {scan} \u00fc"
    lines = ["subject\tscan\tmodality\timage"]
    for n in range(2):
        save(odd / f"good {n}.nii.gz", ball_ct())
        lines.append(f"M\u00fcller {n}\tgood-{n}\tCT\t{odd.name}/good {n}.nii.gz")
    truncated(odd)
    lines.append(f"p3\tshort\tCT\t{odd.name}/a.nii.gz")
    (odd / "n").mkdir()
    nan(odd / "n")
    lines.append(f"p4\tnan\tCT\t{odd.name}/n/a.nii.gz")
    if on_bad_scan == "exclude":
        lines.append(f"p5\tgone\tCT\t{odd.name}/gone.nii.gz")
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    extra = f"    on_bad_scan: {on_bad_scan}\n    recipes: [ax]\nrecipes:\n  ax: {{kind: slices}}\n"
    return config(folder, "sheet.tsv", extra)


def test_excluded_scans_are_listed_and_the_others_go_on(tmp_path):
    file = mixed_cohort(tmp_path, "exclude")
    done = snakemake("--configfile", file, "--cores", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    import csv

    with (tmp_path / "results/cohorts/c/scans.tsv").open() as table:
        rows = {r["scan"]: r for r in csv.DictReader(table, delimiter="\t")}
    assert [s for s, r in rows.items() if r["accepted"] == "1"] == ["good-0", "good-1"]
    for scan, reason in {"short": "truncated", "nan": "NaN", "gone": "not found"}.items():
        assert reason in rows[scan]["reason"]
        assert [p.name for p in (tmp_path / f"results/cohorts/c/scans/{scan}").glob("[!.]*")] == ["record.json"]
    page = (tmp_path / "results/report.html").read_text()
    assert "Excluded scans" in page
    assert "3 excluded" in page
    assert not list(tmp_path.rglob("owned"))


def test_stop_names_all_refused_scans_at_once(tmp_path):
    file = mixed_cohort(tmp_path, "stop")
    done = snakemake("--configfile", file, "--cores", "2", "--keep-going", cwd=tmp_path)
    assert done.returncode == 1
    log = (tmp_path / "logs/collect_scans/c.log").read_text()
    assert "2 of 4 scans were refused" in log
    assert "short (line 4 of the sheet)" in log
    assert "nan (line 5 of the sheet)" in log
    assert not (tmp_path / "results/cohorts/c/scans.tsv").exists()
    page = (tmp_path / "results/report.html").read_text()  # what is there, and why the rest is not
    assert "2 of 4 scans were refused" in page
    assert not (tmp_path / "results/provenance.json").exists()
