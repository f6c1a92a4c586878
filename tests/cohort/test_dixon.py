"""Several MR contrasts of one sitting (Dixon): drawn, imported, and found again by their frame."""

from pathlib import Path

import numpy as np
import pytest

from volforge.cohort.collect import collect_scans
from volforge.cohort.phantoms import body
from volforge.cohort.phantoms.make import make_cohort
from volforge.cohort.sheet import read_sheet
from volforge.study.cases import Cohort, of_modality
from volforge.volume.body_mask import find_body
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

SUBJECTS = ("s1", "s2")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two subjects with four MR contrasts and a CT in one frame each."""
    root = tmp_path_factory.mktemp("dixon")
    lines = ["subject\tscan\tmodality\tcontrast\tframe\timage\tbody_mask\tsplit"]
    for subject in SUBJECTS:
        for contrast in (*body.DIXON, ""):
            scan = f"{subject}-{contrast or 'ct'}"
            modality = "MR" if contrast else "CT"
            # the body is found in the echo in phase; the others are given a mask, since skin is dark in them
            mask = f"drawn/{subject}-in_phase_body_mask.nii.gz" if contrast in body.DIXON[1:] else ""
            lines.append(f"{subject}\t{scan}\t{modality}\t{contrast}\t1\tdrawn/{scan}_image.nii.gz\t{mask}\ttest")
    (root / "sheet.tsv").write_text("\n".join(lines) + "\n")
    sheet = read_sheet(root / "sheet.tsv", check_files=False)
    assert sheet.problems == []
    rows = [{k: getattr(r, k) for k in ("subject", "scan", "modality", "contrast")} for r in sheet.rows]
    make_cohort("body", 1, rows, root / "drawn", 8.0)
    for row in sheet.rows:
        files = {c: Path(p) for c, p in row.files.items()}
        request = ScanRequest(row.scan, row.modality, row.unit, files)
        import_scan(request, ImportSettings(), root / "cohort/scans" / row.scan, record_refusal=False)
    how = {"seed": 1, "folds": 2, "splits": {"train": 1.0, "val": 0.0, "test": 0.0}, "on_bad_scan": "stop"}
    collect_scans(sheet.rows, root / "cohort/scans", root / "cohort/scans.tsv", how | {"makes_labels": False})
    return Cohort(root / "cohort/scans.tsv")


def test_all_contrasts_of_a_frame_are_found_by_subject_frame_and_contrast(cohort):
    for subject in SUBJECTS:
        frame = [r for r in cohort.rows if (r["subject"], r["frame"]) == (subject, "1")]
        assert len(frame) == 5
        for contrast in body.DIXON:
            found = of_modality(frame, {"modality": "MR", "contrast": contrast})
            assert [r["scan"] for r in found] == [f"{subject}-{contrast}"]
        assert len(of_modality(frame, {"modality": "CT", "contrast": None})) == 1


def test_contrasts_of_a_sitting_lie_on_one_grid_and_hold_one_body(cohort):
    for subject in SUBJECTS:
        grids = [cohort.grid(f"{subject}-{c}") for c in body.DIXON]
        assert all(np.allclose(g.affine, grids[0].affine) and g.shape == grids[0].shape for g in grids)
        found = cohort.body(f"{subject}-in_phase", grids[0].shape)
        given = cohort.body(f"{subject}-water", grids[0].shape)
        assert 2 * (found & given).sum() / (found.sum() + given.sum()) > 0.98


def test_the_body_cannot_be_found_in_water_alone():
    """Why the others are given a mask: fat is dark in it, and with it the outline."""
    scan = body.draw(1, "s1", "MR", True, 8.0, "water")
    found = find_body(scan.volumes["image"], scan.grid.spacing_mm, False).mask
    truth = scan.volumes["body_mask"] > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) < 0.8


def test_water_and_fat_are_parts_of_the_image_in_phase(cohort):
    in_phase, opposed, water, fat = (cohort.read("s1-" + c, "image").astype(float) for c in body.DIXON)
    inside = cohort.body("s1-in_phase", in_phase.shape)
    deep = inside & (in_phase > np.percentile(in_phase[inside], 50))
    assert np.median(np.abs(water + fat - in_phase)[deep] / in_phase[deep]) < 0.1
    assert np.median(np.abs(np.abs(water - fat) - opposed)[deep] / in_phase[deep]) < 0.1


def test_a_plain_phantom_is_drawn_as_before_whatever_its_contrast_is_called():
    plain, named = (body.draw(1, "s", "MR", True, 12.0, c).volumes["image"] for c in ("", "T1"))
    assert np.array_equal(plain, named)


def test_signals_of_the_echoes_add_up():
    signals = {c: body.signal_of(c) for c in body.DIXON}
    for i, whole in signals["in_phase"].items():
        assert signals["water"][i] + signals["fat"][i] == pytest.approx(whole)
        assert signals["opposed_phase"][i] == pytest.approx(abs(signals["water"][i] - signals["fat"][i]))
