"""What a reviewer found wrong in silence in the layouts: patients mixed, names mistaken, copies taken twice."""

import os
from pathlib import Path

import pytest
import yaml

from tests.cohort.layouts import trees
from tests.cohort.layouts.test_layouts import found
from tests.conftest import volforge
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.errors import VolforgeError


def refused(tmp_path, layout, tree, options=None) -> str:
    with pytest.raises(VolforgeError) as error:
        found(tmp_path, layout, options, tree)
    assert error.value.remedy
    return str(error.value)


def test_surfaces_go_to_the_patient_that_leads_their_name(tmp_path):
    def tree(folder):
        trees.touch(folder, [f"data_unzip/{n}/data/images/{n}/1.dcm" for n in ("001", "17", "P_1", "1")])
        names = ["17_LM_001.stl", "001_LM_001.stl", "P_1_RM.STL", "RM_1.stl", "001_LM_002.stl"]
        trees.touch(folder, [f"data_labeled/STLs/{n}" for n in names])

    for _ in range(3):
        rows, _, written = found(tmp_path / os.urandom(4).hex(), "negative_volume", tree=tree)
        lists = {s: Path(r.files["labels"]).read_text() for s, r in rows.items()}
        assert "17_LM_001.stl" in lists["17"]
        assert "001_LM_001.stl" in lists["001"]
        assert "P_1_RM.STL" in lists["P_1"]
        assert "RM_1.stl" in lists["1"]
        assert any("another surface of condyle_left" in why for _, why in written.left_out)


def test_sets_whose_numbers_mean_different_people_are_not_mixed(tmp_path):
    def both(folder):
        trees.touch(folder, ["ct/s0001/ct.nii.gz", "mr/s0001/mri.nii.gz"])

    assert "CT and the MR set" in refused(tmp_path / "a", "totalsegmentator", both)

    def copies(folder):
        trees.amos(folder / "one")
        trees.amos(folder / "two")

    assert "stands twice" in refused(tmp_path / "b", "amos", copies)

    def two(folder):
        trees.bids(folder / "a")
        trees.bids(folder / "b")

    assert "stands in two data sets" in refused(tmp_path / "c", "bids", two)


def test_bids_names_come_from_the_maps_own_table(tmp_path):
    def tree(folder):
        trees.put(folder / "dataset_description.json", {"License": "CC0"})
        trees.touch(folder, ["sub-01/anat/sub-01_T1w.nii.gz", "derivatives/f/sub-01/anat/sub-01_dseg.nii.gz"])
        trees.put(folder / "derivatives/f/desc-aseg_dseg.tsv", "index\tname\n1\tLeft-Cerebral-Exterior\n")

    _, structures, _ = found(tmp_path, "bids", tree=tree)
    assert structures["gray_matter"] == 1

    def two_pipelines(folder):
        trees.put(folder / "dataset_description.json", {})
        for n, organ in ((1, "liver"), (2, "spleen")):
            trees.touch(folder, [f"sub-0{n}/anat/sub-0{n}_T1w.nii.gz"])
            trees.touch(folder, [f"derivatives/p{n}/sub-0{n}/anat/sub-0{n}_dseg.nii.gz"])
            trees.put(folder / f"derivatives/p{n}/dseg.tsv", f"index\tname\n1\t{organ}\n")

    assert "different names and ids" in refused(tmp_path / "b", "bids", two_pipelines)

    def two_runs(folder):
        trees.put(folder / "dataset_description.json", {})
        trees.touch(folder, [f"sub-01/anat/sub-01_run-{n}_T1w.nii.gz" for n in (1, 2)])
        trees.touch(folder, ["derivatives/f/sub-01/anat/sub-01_dseg.nii.gz"])

    _, _, written = found(tmp_path / "c", "bids", Options(unlabelled=True), two_runs)
    assert written.labelled == 0
    assert any("fits 2 images" in why for _, why in written.left_out)


def test_nnunet_copies_phases_and_cases_of_one_name(tmp_path):
    def nested(folder):
        trees.nnunet(folder)
        trees.touch(folder / "Dataset005_Prostate/zold", ["imagesTr/p_00_0000.nii.gz", "labelsTr/p_00.nii.gz"])
        trees.touch(folder / "Dataset005_Prostate", ["imagesTs/p_00_0000.nii.gz"])

    rows, _, _ = found(tmp_path, "nnunet", tree=nested)
    assert "zold" not in rows["p_00_0000"].files["image"]
    assert "labels" in rows["p_00_0000"].files

    def phases(folder):
        names = {"0": "arterial phase", "1": "portal venous phase"}
        trees.put(folder / "dataset.json", {"channel_names": names, "labels": {"L+R": 1, "L-R": 2, "肝": 3}})
        trees.touch(folder, ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"])

    assert "CT, CBCT or MR?" in refused(tmp_path / "b", "nnunet", phases)
    _, structures, _ = found(tmp_path / "c", "nnunet", Options(modality="CT"), phases)
    assert structures == {"l_r": 1, "structure_2": 2, "structure_3": 3}
    assert "normalisations, not truth" in refused(tmp_path / "d", "nnunet", trees.autopet)
    assert "use --layout autopet" in refused(tmp_path / "e", "nnunet", trees.autopet, Options(modality="CT"))


def test_links_that_lead_back_are_walked_once(tmp_path):
    def tree(folder):
        trees.ixi(folder)
        (folder / "a").symlink_to(folder)
        (folder / "b").symlink_to(folder)

    rows, _, _ = found(tmp_path, "ixi", tree=tree)
    assert len(rows) == 3


@pytest.mark.parametrize(
    "content",
    [
        {"channel_names": ["CT"], "labels": {"a": 1}},
        {"channel_names": {"x": "CT"}, "labels": {"a": 1}},
        {"channel_names": {"0": "CT"}, "labels": None},
        {"channel_names": {"0": "CT"}, "labels": {"a": 1}, "dataset": {"c": {}}},
        {"modality": {"0": "CT"}, "labels": {"0": "b"}, "training": ["a", "b"]},
    ],
)
@pytest.mark.parametrize("layout", ["nnunet", "msd", "ixi"])
def test_a_dataset_json_of_another_form_is_no_traceback(tmp_path, content, layout):
    trees.put(tmp_path / "data/dataset.json", content)
    trees.touch(tmp_path / "data", ["imagesTr/a_0000.nii.gz"])
    done = volforge("cohort", "discover", "data", "--layout", layout, "--out", "s.tsv", cwd=tmp_path)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr


def test_what_lies_there_already_is_not_mixed_with_the_new(tmp_path):
    trees.amos(tmp_path / "amos")
    trees.synthrad2023(tmp_path / "rad")
    discover(tmp_path / "amos", "amos", tmp_path / "s.tsv", Options())
    with pytest.raises(VolforgeError, match="would serve the new sheet"):
        discover(tmp_path / "rad", "synthrad2023", tmp_path / "s.tsv", Options())
    kept = discover(tmp_path / "rad", "synthrad2023", tmp_path / "s.tsv", Options(), force=True)
    assert any("was kept as it lay there" in n for n in kept.notes)
    (tmp_path / "h.structures.tsv").write_text("structure\tid\nmine\t1\n")
    with pytest.raises(VolforgeError, match="pass --force"):
        discover(tmp_path / "amos", "amos", tmp_path / "h.tsv", Options())
    for out in ("x.csv", "rad"):
        done = volforge("cohort", "discover", "amos", "--layout", "amos", "--out", out, "--force", cwd=tmp_path)
        assert done.returncode == 1
        assert ".tsv" in done.stderr


def test_the_printed_entry_is_yaml_whatever_the_path(tmp_path):
    folder = tmp_path / "side: a #b"
    trees.ixi(folder / "data")
    written = discover(folder / "data", "ixi", folder / "s.tsv", Options(), root=folder)
    entry = yaml.safe_load(written.entry)["cohorts"]["s"]
    assert entry["sheet"] == str(folder / "s.tsv")
    assert entry["root"] == str(folder)


def test_capital_suffixes_missing_tables_and_a_folder_called_latest(tmp_path):
    def capitals(folder):
        trees.touch(folder, ["A0001.NRRD", "deep/A0002/A0002.nrrd"])

    rows, _, _ = found(tmp_path, "mug500", tree=capitals)
    assert rows.keys() == {"A0001", "A0002"}

    def bare(folder):
        trees.touch(folder, ["imagesTr/ToothFairy2F_001_0000.mha", "labelsTr/ToothFairy2F_001.mha"])

    rows, structures, _ = found(tmp_path / "t", "toothfairy", tree=bare)
    assert rows["ToothFairy2F_001"].modality == "CBCT"
    assert structures["lower_right_third_molar"] == 48
    assert "there is no dataset.json" in refused(tmp_path / "n", "nnunet", bare)

    def latest(folder):
        trees.skullbreak(folder / "latest")

    rows, _, _ = found(tmp_path / "l", "skullbreak", tree=latest)
    assert not any("test" in s for s in rows)
