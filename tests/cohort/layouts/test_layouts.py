"""Each layout on a tree as it is published: rows, labels, structures, what is left out, and the terms."""

import csv

import numpy as np
import pytest

from tests.cohort.layouts import trees
from tests.volume.test_seg_nrrd import write_segments
from volforge.cohort.layouts.discovery import Options, Tree
from volforge.cohort.layouts.registry import LAYOUTS
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import SCAN, read_sheet
from volforge.errors import VolforgeError, errors_of
from volforge.tables.names import scan_name
from volforge.tables.structures import read_structures

NAMED = [name for name in LAYOUTS if name not in ("dicom", "pattern")]


def found(tmp_path, layout, options=None, tree=None, root=False):
    """Make the tree of a layout, discover it, and return (rows by scan, structures, result)."""
    folder = tmp_path / "data"
    (tree or getattr(trees, layout))(folder)
    out = tmp_path / "sheets" / f"{layout}.tsv"
    written = discover(folder, layout, out, options or Options(), folder if root else None)
    sheet = read_sheet(out, root=folder if root else None)
    assert errors_of(sheet.problems) == [], [str(p) for p in sheet.problems]
    structures = {}
    if written.structures:
        table, problems = read_structures(written.structures)
        assert problems == []
        structures = {s.structure: s.id for s in table}
    return {r.scan: r for r in sheet.rows}, structures, written


@pytest.mark.parametrize("layout", NAMED)
@pytest.mark.parametrize("root", [False, True])
def test_every_layout_writes_a_sheet_that_passes_its_check(tmp_path, layout, root):
    rows, _, written = found(tmp_path, layout, root=root)
    assert written.scans == len(rows) > 0
    assert f"layout {layout}" in written.notes[0]
    assert written.notes[1].startswith("licence: ")
    assert len(written.notes[1]) > len("licence: ")
    assert all(row.missing == () for row in rows.values())


@pytest.mark.parametrize("layout", NAMED)
def test_unpacked_one_level_deeper_it_is_found_too(tmp_path, layout):
    getattr(trees, layout)(tmp_path / "data")
    getattr(trees, layout)(tmp_path / "deep" / "again" / "data")
    a = discover(tmp_path / "data", layout, tmp_path / "a.tsv", Options())
    b = discover(tmp_path / "deep", layout, tmp_path / "b.tsv", Options())
    assert (a.scans, a.subjects, a.labelled) == (b.scans, b.subjects, b.labelled)


@pytest.mark.parametrize("layout", NAMED)
def test_the_same_folder_gives_the_same_bytes_and_no_tree_passes_for_another(tmp_path, layout):
    getattr(trees, layout)(tmp_path / "data")
    for name in ("a", "b"):
        discover(tmp_path / "data", layout, tmp_path / name / "s.tsv", Options())
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    kin = {"nnunet": {"autopet", "toothfairy"}, "synthrad2023": {"synthrad2025"}, "skullfix": {"skullbreak"}}
    for other in NAMED:
        if other == layout or layout in kin.get(other, ()) or other in kin.get(layout, ()):
            continue
        try:
            rows = LAYOUTS[other].find(Tree(tmp_path / "data"), Options()).rows
        except VolforgeError:
            continue
        assert not rows, other


def test_bids(tmp_path):
    rows, structures, written = found(tmp_path, "bids", Options(unlabelled=True))
    assert structures == {"left_hippocampus": 3, "thalamus": 7}
    assert rows["sub-01_ses-1_T1w"].files["labels"].endswith("sub-01_ses-1_dseg.nii.gz")
    assert rows["sub-01_ses-2_ce-gad_T1w"].contrast == "T1_ce"
    assert rows["sub-01_ses-2_ce-gad_T1w"].subject == "sub-01"
    assert rows["sub-01_ses-1_T2w"].files.keys() == {"image"}
    assert "labels" not in rows["sub-02_ses-1_T1w"].files  # its map lies in the space of an atlas
    assert rows["sub-03_ct"].modality == "CT"
    assert "labels" in rows["sub-03_ct"].files
    assert rows["sub-04_ct"].modality == "CT"
    assert "sub-05_T1w" not in rows
    assert any("placeholders" in why for _, why in written.left_out)
    assert any("part-phase" in why for _, why in written.left_out)
    assert "licence: CC0" in written.notes


def test_nnunet_with_channels_regions_folds_and_test_set(tmp_path):
    rows, structures, written = found(tmp_path, "nnunet")
    assert structures == {"pz": 1, "tz": 2, "ignore": 3}
    assert len(rows) == 10
    row = rows["p_00_0001"]
    assert (row.subject, row.modality, row.contrast, row.frame, row.fold) == ("p_00", "MR", "ADC", "1", 1)
    assert rows["p_07_0000"].split == "test"
    assert "p_08_0000" not in rows
    assert any("--unlabelled" in why for _, why in written.left_out)
    assert "folds: 2" in written.entry


def test_nnunet_asks_for_a_modality_that_no_name_tells(tmp_path):
    def unnamed(folder):
        trees.put(folder / "dataset.json", {"channel_names": {"0": "zscore"}, "labels": {"background": 0, "a": 1}})
        trees.touch(folder, ["imagesTr/a_b_0000.nrrd", "labelsTr/a_b.nrrd"])

    with pytest.raises(VolforgeError, match="'zscore': CT, CBCT or MR"):
        found(tmp_path, "nnunet", tree=unnamed)
    rows, _, _ = found(tmp_path, "nnunet", Options(modality="CT"), tree=unnamed)
    assert rows["a_b"].modality == "CT"


def test_nnunet_by_the_dataset_key_and_version_1(tmp_path):
    def listed(folder):
        entry = {"images": ["../raw/c1.nii.gz"], "label": "../raw/c1_seg.nii.gz"}
        trees.touch(tmp_path / "raw", ["c1.nii.gz", "c1_seg.nii.gz"])
        trees.put(folder / "dataset.json", {"channel_names": {"0": "CT"}, "labels": {"x": 1}, "dataset": {"c1": entry}})

    rows, structures, _ = found(tmp_path, "nnunet", tree=listed)
    assert rows.keys() == {"c1"}
    assert structures == {"x": 1}

    def version_1(folder):
        trees.put(folder / "dataset.json", {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "Liver"}})
        trees.touch(folder, ["imagesTr/c_0000.nii.gz", "labelsTr/c.nii.gz"])

    _, structures, _ = found(tmp_path / "b", "nnunet", tree=version_1)
    assert structures == {"liver": 1}


def test_msd_names_the_volumes_of_a_4d_file(tmp_path):
    rows, structures, written = found(tmp_path, "msd")
    assert structures == {"pz": 1, "tz": 2}
    assert rows.keys() == {f"prostate_0{n}-{c}" for n in (0, 1) for c in ("T2", "ADC")}
    assert rows["prostate_01-ADC"].files["image"].endswith("prostate_01.nii.gz#1")
    assert {r.frame for r in rows.values()} == {"1"}
    assert ("./imagesTr/prostate_09.nii.gz", "named in dataset.json, not in the folder") in written.left_out


def test_autopet_keeps_patients_together(tmp_path):
    rows, structures, written = found(tmp_path, "autopet")
    assert structures == {"tumour": 1}
    assert [(r.subject, r.modality) for r in rows.values()] == [("fdg_00aa", "CT")] * 2 + [("psma_95b8", "CT")]
    assert rows["fdg_00aa-1"].files["image"].endswith("_0000.nii.gz")
    assert {r.fold for r in rows.values()} == {None}  # its splits part two studies of one patient
    assert any("parts studies of one patient" in n for n in written.notes)
    rows, _, _ = found(tmp_path / "s", "autopet_studies")
    assert {r.subject for r in rows.values()} == {"PETCT_0011f3deaf"}
    assert rows["PETCT_0011f3deaf-2"].files["image"].endswith("CTres.nii.gz")
    assert rows["PETCT_0011f3deaf-2"].files["labels"].endswith("SEG.nii.gz")


def test_synthrad(tmp_path):
    rows, _, _ = found(tmp_path, "synthrad2023")
    assert len(rows) == 12
    assert [rows[f"{p}-mr"].contrast for p in ("1BA001", "1BB002", "1PA000", "1PC003")] == ["T1", "T1_gd", "T1", "T2"]
    assert rows["2BA001-cbct"].modality == "CBCT"
    assert rows["1BA001-ct"].files["body_mask"].endswith("1BA001/mask.nii.gz")
    assert rows["1BA001-ct"].frame == rows["1BA001-mr"].frame == "1"
    rows, _, written = found(tmp_path / "b", "synthrad2025")
    assert len(rows) == 6
    assert any("1HNC" in n for n in written.notes)
    assert any("ct_def" in what for what, _ in written.left_out)


def test_skulls(tmp_path):
    rows, _, written = found(tmp_path, "skullfix")
    assert rows.keys() == {"skullfix-000", "skullfix-001", "skullfix-002"}
    assert any("009" in what for what, _ in written.left_out)
    rows, _, _ = found(tmp_path / "u", "skullfix", Options(unlabelled=True))
    assert rows["skullfix-test-000"].files.keys() == {"defective"}
    rows, _, _ = found(tmp_path / "b", "skullbreak")
    assert len(rows) == 10
    assert {r.subject for r in rows.values()} == {"skullbreak-000", "skullbreak-117"}
    assert len({r.files["image"] for r in rows.values()}) == 2
    rows, _, written = found(tmp_path / "m", "mug500")
    assert rows["A0001"].files.keys() == {"image"}
    assert rows["B0001"].files.keys() == {"defective", "implant"}
    assert rows["B0001"].files["implant"].endswith("B0001_implant.stl")
    assert rows["B0002"].files.keys() == {"defective"}
    assert "licence: CC BY 4.0" in written.notes


def test_totalsegmentator(tmp_path):
    rows, structures, _ = found(tmp_path, "totalsegmentator")
    assert len(structures) == 117
    assert (structures["liver"], structures["skull"], structures["costal_cartilages"]) == (5, 91, 117)
    assert [rows[f"s000{n}"].split for n in range(3)] == ["train", "", "test"]
    assert rows["s0000"].label_source == "model"

    def mr(folder):
        trees.touch(folder, [f"{s}/{f}.nii.gz" for s in ("s0026", "s0030") for f in ("mri", "segmentations/brain")])

    rows, structures, written = found(tmp_path / "mr", "totalsegmentator", tree=mr)
    assert structures["brain"] == 50
    assert rows.keys() == {"s0030"}  # the masks of s0026 are known to be empty
    assert any("empty" in why for _, why in written.left_out)


def test_chaos(tmp_path):
    rows, structures, written = found(tmp_path, "chaos")
    assert structures == {"liver": 1, "kidney_right": 2, "kidney_left": 3, "spleen": 4}
    assert rows.keys() == {"CT-5", "MR-5-T1DUAL-InPhase", "MR-5-T1DUAL-OutPhase", "MR-5-T2SPIR"}
    assert {r.subject for r in rows.values()} == {"CT-5", "MR-5"}
    assert rows["MR-5-T1DUAL-InPhase"].frame == rows["MR-5-T1DUAL-OutPhase"].frame == "T1DUAL"
    assert rows["MR-5-T2SPIR"].frame == ""
    with open(rows["MR-5-T2SPIR"].files["labels"]) as file:
        parts = list(csv.DictReader(file, delimiter="\t"))
    assert parts[0]["structure"] == "liver"
    assert parts[0]["value"] == "55-70"
    assert any("CT-3" in what for what, _ in written.left_out)


def test_head_and_neck(tmp_path):
    rows, structures, written = found(tmp_path, "segrap2023")
    assert len(structures) == 45
    assert structures["mandible_l"] == 28
    assert rows.keys() == {"segrap_0000", "segrap_0000-contrast"}
    with open(rows["segrap_0000"].files["labels"]) as file:
        parts = {p["structure"]: p["file"] for p in csv.DictReader(file, delimiter="\t")}
    assert len(parts) == 45
    assert "Update_Labels" in parts["mandible_l"]
    assert "Update_Labels" not in parts["mandible_r"]
    assert any("GTV" in what for what, _ in written.left_out)
    rows, structures, _ = found(tmp_path / "h", "hanseg")
    assert len(structures) == 30
    assert rows["case_01-mr"].files.keys() == {"image"}
    assert rows["case_01-mr"].frame == rows["case_01-ct"].frame == ""


def test_toothfairy_amos_bicmac_ixi(tmp_path):
    rows, structures, written = found(tmp_path / "t", "toothfairy")
    assert structures == {"lower_jawbone": 1, "upper_jawbone": 2}
    assert {r.modality for r in rows.values()} == {"CBCT"}
    assert not any("0048" in s for s in rows)
    assert any("60 and 160" in why for _, why in written.left_out)
    rows, structures, _ = found(tmp_path / "a", "amos")
    assert structures["prostate_uterus"] == 15
    modalities = {s: r.modality for s, r in rows.items()}
    assert modalities == {
        "amos_0001": "CT", "amos_0500": "CT", "amos_0507": "MR", "amos_0022": "CT", "amos_0600": "MR",
    }  # fmt: skip
    rows, structures, written = found(tmp_path / "b", "bicmac")
    assert structures["liver"] == 5
    assert rows.keys() == {"sub-000-ct", "sub-000-mr-in", "sub-000-mr-out", "sub-004-mr-in"}
    assert {r.frame for r in rows.values()} == {""}
    rows, _, written = found(tmp_path / "i", "ixi")
    assert rows.keys() == {"IXI002-T1", "IXI002-T2", "IXI1024-T1"}
    assert any("incomplete" in why for _, why in written.left_out)


def test_negative_volume(tmp_path):
    rows, structures, written = found(tmp_path, "negative_volume")
    assert set(structures) == {"condyle_left", "condyle_right", "temporal_bone_left", "ball_right"}
    assert rows["001"].files["image"].endswith("data/images/001")
    with open(rows["17"].files["labels"]) as file:
        assert {p["structure"] for p in csv.DictReader(file, delimiter="\t")} == {"condyle_left", "ball_right"}
    assert any("remarks.stl" in what for what, _ in written.left_out)


# --- the free pattern


def test_pattern_with_named_fields(tmp_path):
    def tree(folder):
        for n in (1, 2):
            trees.touch(folder, [f"site {n}/pat{n}/ct_v{v}.nii.gz" for v in (1, 2)])
            trees.touch(folder, [f"site {n}/pat{n}/seg_v1.nii.gz"])

    patterns = {"image": "{site}/{subject}/ct_v{visit}.nii.gz", "labels": "{site}/{subject}/seg_v{visit}.nii.gz"}
    options = Options(modality="CT", label_source="expert", patterns=patterns)
    rows, _, written = found(tmp_path, "pattern", options, tree)
    assert len(rows) == 4
    row = rows["site-1-pat1-1"]
    assert (row.subject, row.modality, row.free) == ("pat1", "CT", {"site": "site 1", "visit": "1"})
    assert row.files["labels"].endswith("seg_v1.nii.gz")
    assert written.labelled == 2
    assert len(written.left_out) == 2


@pytest.mark.parametrize(
    ("second", "ids"),
    [((("disc", 4), ("fossa", 2)), {"fossa": 2, "disc": 4}), ((("fossa", 4), ("disc", 2)), {"disc": 1, "fossa": 2})],
)
def test_structures_of_a_pattern_are_the_names_of_segments(tmp_path, second, ids):
    """Numbered alike they keep their numbers; `Segment_9` is no name."""
    first = (("fossa", 2), ("disc", 4), ("Segment_9", 9))

    def tree(folder):
        trees.touch(folder, ["p1/ct.nii.gz", "p2/ct.nii.gz"])
        for name, segments in (("p1", first), ("p2", second)):
            array = np.zeros((4, 4, 4), np.uint8)
            write_segments(folder / name / "s.seg.nrrd", [array], [(n, v, 0) for n, v in segments])

    patterns = {"image": "{subject}/ct.nii.gz", "labels": "{subject}/s.seg.nrrd"}
    options = Options(modality="CT", label_source="expert", patterns=patterns)
    _, structures, written = found(tmp_path, "pattern", options, tree)
    assert structures == ids
    assert any("numbered differently" in n for n in written.notes) == ("disc" in ids and ids["disc"] == 1)


def test_segments_of_a_pattern_that_differ_in_signs_or_script_are_structures_of_their_own(tmp_path):
    """What is written is what an import finds them by."""
    segments = [("PTV-", 1, 0), ("PTV+", 2, 0), ("下顎骨", 4, 0), ("disc", 3, 0)]

    def tree(folder):
        trees.touch(folder, ["p1/ct.nii.gz"])
        write_segments(folder / "p1/s.seg.nrrd", [np.zeros((4, 4, 4), np.uint8)], segments)

    patterns = {"image": "{subject}/ct.nii.gz", "labels": "{subject}/s.seg.nrrd"}
    options = Options(modality="CT", label_source="expert", patterns=patterns)
    _, structures, written = found(tmp_path, "pattern", options, tree)
    assert structures == {"ptv_minus": 1, "ptv_plus": 2, "disc": 3, "roi_1": 4}
    table, problems = read_structures(written.structures)
    assert not problems
    rois = {s.structure: s.roi for s in table}
    assert rois == {"ptv_minus": ("PTV-",), "ptv_plus": ("PTV+",), "disc": ("disc",), "roi_1": ("下顎骨",)}


def test_pattern_of_folders_and_of_modality(tmp_path):
    def tree(folder):
        trees.touch(folder, [f"{s}/{m}/slices/{k}.dcm" for s in ("a", "b") for m in ("ct", "MR") for k in range(3)])
        trees.touch(
            folder, [f"{s}/{m}/masks/{n}.nii.gz" for s in ("a", "b") for m in ("ct", "MR") for n in ("Liver", "Spleen")]
        )

    patterns = {"image": "{subject}/{modality}/slices/", "labels": "{subject}/{modality}/masks/"}
    rows, structures, _ = found(tmp_path, "pattern", Options(label_source="derived", patterns=patterns), tree)
    assert {s: r.modality for s, r in rows.items()} == {"a-ct": "CT", "a-MR": "MR", "b-ct": "CT", "b-MR": "MR"}
    assert structures == {"liver": 1, "spleen": 2}


@pytest.mark.parametrize(
    ("patterns", "modality", "reason"),
    [
        ({}, "CT", "no pattern"),
        ({"image": "{scan}.nii.gz"}, "CT", "names no {subject}"),
        ({"image": "{subject}/x.nii.gz"}, "", "no {modality}"),
        ({"image": "{subject/x.nii.gz"}, "CT", "brace does not close"),
        ({"image": "{Sub ject}/x.nii.gz"}, "CT", "is no field"),
        ({"image": "{subject}/x.nii.gz", "labels": "{subject}/*.nii.gz"}, "CT", "2 files for one image"),
        ({"image": "{subject}/x.nii.gz", "labels": "{subject}/y.nii.gz"}, "CT", "who made the labels"),
        ({"image": "{subject}/gone.nii.gz"}, "CT", "closest file is a/"),
    ],
)
def test_patterns_that_do_not_work_say_why(tmp_path, patterns, modality, reason):
    trees.touch(tmp_path / "data", ["a/x.nii.gz", "a/y.nii.gz", "a/z.nii.gz"])
    with pytest.raises(VolforgeError) as error:
        discover(tmp_path / "data", "pattern", tmp_path / "s.tsv", Options(modality=modality, patterns=patterns))
    assert reason in str(error.value)
    assert not (tmp_path / "s.tsv").exists()


# --- when nothing matches


def test_nothing_found_says_what_was_looked_for_where_and_the_closest(tmp_path):
    trees.touch(tmp_path / "data", ["complete_skulls/000.nrrd", "readme.txt"])
    with pytest.raises(VolforgeError) as error:
        discover(tmp_path / "data", "skullfix", tmp_path / "s.tsv", Options())
    text = str(error.value)
    assert "complete_skull/000.nrrd" in text
    assert "among 2 files" in text
    assert "closest file is complete_skulls/000.nrrd" in text
    trees.amos(tmp_path / "data")
    with pytest.raises(VolforgeError, match="looks like layout amos"):
        discover(tmp_path / "data", "skullfix", tmp_path / "s.tsv", Options())
    with pytest.raises(VolforgeError, match="did you mean 'skullfix'"):
        discover(tmp_path / "data", "skulfix", tmp_path / "s.tsv", Options())
    with pytest.raises(VolforgeError, match="no such folder"):
        discover(tmp_path / "gone", "skullfix", tmp_path / "s.tsv", Options())


def test_names_become_valid_and_unique():
    for text in ("a b/c", "ü", "x" * 200, "-start", "index.tsv ", "fdg_00_NA PET  CT,1"):
        assert SCAN.match(scan_name(text)), text
    assert scan_name("x" * 200) != scan_name("x" * 199)
