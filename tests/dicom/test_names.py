"""Names of ROIs and segments: kept as written, none lost, none joined in silence; the table of discover imports."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.cohort.layouts.test_dicom_tree import reference
from tests.dicom.files import phantom, write_series, write_structure_set
from tests.dicom.test_labels import FRAME, circle
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.errors import ScanError
from volforge.tables.structures import NAME, read_structures
from volforge.volume.dicom.names import FileNames, matched_names, meaning, numbered, table_of
from volforge.volume.folders import read_json
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.workflow.jobs import cohort_settings
from volforge.workflow.run import load_run


def files(*names: list[str]) -> list[FileNames]:
    return [FileNames(numbered(dict(enumerate(n)))) for n in names]


def matched(names, structures, rois=None, empty=()):
    found, notes = matched_names(
        FileNames(numbered(dict(enumerate(names))), tuple(empty)), {s: i for i, s in enumerate(structures, 1)},
        rois or {},
    )  # fmt: skip
    return {names[n]: s for n, s in found.items()}, notes


def test_names_that_differ_in_signs_or_script_mean_different_things():
    assert meaning("PTV+") != meaning("PTV-")
    assert meaning("GTV-1") == meaning("gtv 1") == "gtv_1"
    assert meaning("Drüse") == "druse"
    assert meaning("STRASSE") == meaning("Straße")
    assert meaning("\uff30\uff34\uff36") == "ptv"  # full width
    assert meaning("下顎骨") == meaning("GTV 下") == meaning("Μαστός") == ""


def test_equal_names_are_told_apart_and_no_number_is_given_twice():
    assert list(numbered({3: "A", 1: "A", 2: "A#2", 4: "", 5: " "}).values()) == ["A", "A#2", "A#3", "#1", "#2"]
    assert numbered({1: "a \t\u00a0b\u200b\x00"}) == {1: "a b"}


@pytest.mark.parametrize(
    ("held", "table"),
    [
        ([["Mandible (L)"], ["mandible_l"]], {"mandible_l": ("Mandible (L)", "mandible_l")}),
        ([["Lens", "LENS"], ["Lens"]], {"lens": ("LENS",), "lens_2": ("Lens",)}),
        ([["Lesion01", "Lesion01"], ["Lesion01"]], {"lesion01": ("Lesion01",), "lesion01_2": ("Lesion01#2",)}),
        ([["PTV+"], ["PTV-"]], {"ptv_minus": ("PTV-",), "ptv_plus": ("PTV+",)}),
        ([["PTV+"]], {"ptv": ("PTV+",)}),
        ([["lens", "下顎骨"], ["耳下腺"]], {"lens": ("lens",), "roi_1": ("下顎骨",), "roi_2": ("耳下腺",)}),
        ([["ROI 1", "下"]], {"roi_1": ("ROI 1",), "roi_1_2": ("下",)}),
        ([["", ""]], {"roi_1": ("#1",), "roi_2": ("#2",)}),
        ([["x" * 70, "x" * 69]], {"x" * 64: ("x" * 69,), "x" * 58 + "_2": ("x" * 70,)}),
    ],
)
def test_every_name_gets_a_structure_and_matches_it(held, table):
    found = table_of(files(*held))
    assert found == table
    assert all(NAME.match(s) for s in found)
    for file in files(*held):
        wanted, notes = matched_names(file, {s: i for i, s in enumerate(found, 1)}, found)
        assert wanted.keys() == file.drawn.keys()
        assert len(set(wanted.values())) == len(wanted)
        assert notes == []


def test_names_that_were_not_seen():
    assert matched(["PTV-", "x"], ["ptv", "x"], {"ptv": ["PTV+"]})[0] == {"x": "x"}
    assert matched(["LINSE"], ["lens"], {"lens": ["Linse"]})[0] == {"LINSE": "lens"}
    assert matched(["Dr\u00fcse"], ["dr_se"])[0] == {"Dr\u00fcse": "dr_se"}  # tables of earlier versions
    assert matched(["Dru\u0308se"], ["a"], {"a": ["Dr\u00fcse"]})[0] == {"Dru\u0308se": "a"}
    with pytest.raises(ScanError, match="'LENS' may mean lens or lens_2"):
        matched(["LENS"], ["lens", "lens_2"], {"lens": ["Lens"], "lens_2": ["lens"]})


def test_two_of_one_structure_are_joined_only_where_the_table_says_so():
    names = numbered({1: "Lens", 2: "Lens"})
    with pytest.raises(ScanError, match="2 of its names mean structure 'lens': Lens, Lens#2") as error:
        matched_names(FileNames(names), {"lens": 1}, {})
    assert "column `roi`" in error.value.remedy
    assert "Lens\\Lens#2" in error.value.remedy
    wanted, notes = matched_names(FileNames(names), {"lens": 1}, {"lens": ["Lens", "Lens#2"]})
    assert wanted == {1: "lens", 2: "lens"}
    assert notes == ["structure 'lens' holds Lens and Lens#2"]
    with pytest.raises(ScanError, match="mean structure 'ptv'"):
        matched(["PTV+", "PTV-"], ["ptv"])
    assert matched(["lens"], ["lens"], empty=["Lens"]) == ({"lens": "lens"}, [])
    with pytest.raises(ScanError, match="no closed contour or voxel for lens; drawn: a\n"):
        matched(["a"], ["lens"], empty=["lens"])
    with pytest.raises(ScanError, match="for lens; drawn: nothing\n"):
        matched([], ["lens"], empty=["lens"])


@pytest.mark.parametrize(
    ("names", "structures"),
    [
        (["下顎骨", "耳下腺"], ["roi_1", "roi_2"]),
        (["Drüse", "Ohr (äußeres)"], ["druse", "ohr_ausseres"]),
        (["PTV+", "PTV-"], ["ptv_minus", "ptv_plus"]),
        (["Lesion01", "Lesion01"], ["lesion01", "lesion01_2"]),
        (['Plan "A"', "a\tb"], ["a_b", "plan_a"]),
        (["lens", ""], ["lens", "roi_1"]),
    ],
)
def test_what_discover_writes_is_imported_as_it_is(tmp_path, names, structures):
    write_series(tmp_path / "data/a", phantom())
    rings = {f"{k}": [circle(4 + 4 * k, 40, (-18 + 36 * k, 0))] for k in range(2)}
    path = write_structure_set(tmp_path / "data/rt.dcm", rings, FRAME)
    reference(path, "a")
    d = pydicom.dcmread(path)
    d.SpecificCharacterSet = "ISO_IR 192"
    for roi, name in zip(d.StructureSetROISequence, names, strict=True):
        roi.ROIName = name
    d.save_as(path)
    discover(tmp_path / "data", "dicom", tmp_path / "s.tsv", Options())
    table, problems = read_structures(tmp_path / "s.structures.tsv")
    assert problems == []
    assert [s.structure for s in table] == structures
    (tmp_path / "c.yaml").write_text("cohorts:\n  c: {sheet: s.tsv, background: keep}\n")
    cohort = load_run([tmp_path / "c.yaml"], None).cohorts["c"]
    (tmp_path / "settings.json").write_text(cohort_settings(cohort))
    row = next(iter(cohort.rows.values()))
    request = ScanRequest(row.scan, row.modality, row.unit, {c: Path(p) for c, p in row.files.items()})
    import_scan(request, ImportSettings.load(tmp_path / "settings.json"), tmp_path / "out", record_refusal=False)
    voxels = read_json(tmp_path / "out/record.json")["labels"]["voxels"]
    counts = {s.roi[0]: voxels[s.structure] for s in table}
    keys = list(numbered(dict(enumerate(names))).values())
    assert counts[keys[0]] == pytest.approx(np.pi * 16 / 5, abs=3)
    assert counts[keys[1]] == pytest.approx(np.pi * 64 / 5, abs=4)
