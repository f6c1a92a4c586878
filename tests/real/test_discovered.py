"""Layouts and DICOM on real volumes: the sheets found equal those written by hand, and scans of them import."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, volforge
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import read_sheet
from volforge.tables.structures import read_structures
from volforge.volume.folders import read_json
from volforge.volume.geometry import reorientation_of
from volforge.volume.label_map import Target
from volforge.volume.labels import read_labels
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]
SHEETS = ROOT / "tests/real/sheets"


@pytest.mark.parametrize(
    ("layout", "folder", "sheet"),
    [
        ("skullfix", "skullfix", "skullfix.tsv"),
        ("msd", "msd_hippocampus", "hippocampus.tsv"),
        ("ixi", "ixi_t1_2mm", "ixi.tsv"),
    ],
)
def test_the_sheet_found_names_the_files_of_the_sheet_written_by_hand(tmp_path, real, layout, folder, sheet):
    out = tmp_path / "found.tsv"
    discover(real / folder, layout, out, Options(), root=real)
    found, written = read_sheet(out, root=real), read_sheet(SHEETS / sheet, root=real)
    assert not found.problems
    files = [{tuple(sorted(r.files.items())) for r in s.rows} for s in (found, written)]
    assert files[0] == files[1]
    assert len({r.subject for r in found.rows}) == len({r.subject for r in written.rows})
    by_hand = (SHEETS / sheet).with_suffix("").with_suffix(".structures.tsv")
    if by_hand.exists():
        ids = [{s.id for s in read_structures(p)[0]} for p in (out.with_name("found.structures.tsv"), by_hand)]
        assert ids[0] >= ids[1]


def test_the_dicom_head_equals_simpleitk_and_asks_for_its_unit(tmp_path, real):
    import SimpleITK as sitk

    folder = real / "vtk_headsq_ct_dicom"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = read_volume(folder, labels=False)
    assert np.array_equal(scaled(volume), sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    assert np.allclose(volume.grid.spacing_mm, image.GetSpacing())
    refused = volforge("scan", "import", "--image", folder, "--out", tmp_path / "a")
    assert refused.returncode == 1
    assert "HU + 1024" in refused.stderr
    done = volforge("scan", "import", "--image", folder, "--unit", "hu+1024", "--out", tmp_path / "b")
    assert done.returncode == 0, done.stderr
    record = read_json(tmp_path / "b/record.json")
    assert record["grid"]["shape"] == [64, 64, 93]
    assert 2000 < record["body"]["volume_ml"] < 6000  # a head
    text = (tmp_path / "b/record.json").read_text()
    assert "8775070" not in text
    assert "Austrialian" not in text


def test_dicom_series_found_in_a_tree_of_everything(tmp_path, real):
    written = discover(real, "dicom", tmp_path / "all.tsv", Options())
    rows = read_sheet(tmp_path / "all.tsv").rows
    names = {Path(r.files["image"]).relative_to(real).as_posix() for r in rows}
    assert names >= {"vtk_headsq_ct_dicom", "ge_tilted_head_dicom", "dcmqi_segmentations/ct-3slice"}
    reasons = dict(written.left_out)
    assert reasons["rtstruct_breast/rtss.dcm"] == "its series is not here"
    assert "8775070" not in (tmp_path / "all.tsv").read_text()
    table, problems = read_structures(tmp_path / "all.structures.tsv")
    assert problems == []
    assert "background" not in {s.structure for s in table}
    for row in rows:
        if "labels" in row.files:
            source = read_volume(Path(row.files["image"]), labels=False)
            turn = reorientation_of(source.grid.affine)
            target = Target(turn.canonical(source.grid), source.grid.shape, turn, source)
            ids, rois = {s.structure: s.id for s in table}, {s.structure: s.roi for s in table}
            path = Path(row.files["labels"])
            assert read_labels(path, target, ids, resample=False, mesh_frame="lps", rois=rois).array.any()
