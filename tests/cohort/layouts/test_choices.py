"""A choice among several files is never silent: what was taken, and what was not, is said."""

import pytest

from tests.cohort.layouts import trees
from tests.cohort.layouts.test_layouts import found
from volforge.cohort.layouts.discovery import Options


def two_maps(manual: str, automatic: str, side_cars: dict[str, bool] | None = None, images: tuple[str, ...] = ("",)):
    """A BIDS set of two subjects with two maps per image; `*` stands for the subject."""

    def tree(folder):
        trees.put(folder / "dataset_description.json", {"License": "CC0"})
        for n in ("01", "02"):
            trees.touch(folder, [f"sub-{n}/anat/sub-{n}{i}_T1w.nii.gz" for i in images])
            for name in (manual, automatic):
                trees.touch(folder, [name.replace("*", n)])
            for name, value in (side_cars or {}).items():
                trees.put(folder / name.replace("*", n), {"Manual": value})

    return tree


@pytest.mark.parametrize(
    ("manual", "automatic"),
    [
        ("derivatives/x/sub-*/anat/sub-*_desc-manual_dseg.nii.gz", "derivatives/x/sub-*/anat/sub-*_desc-aparc_dseg.nii.gz"),
        ("derivatives/z-manual/sub-*/anat/sub-*_dseg.nii.gz", "derivatives/fastsurfer/sub-*/anat/sub-*_dseg.nii.gz"),
        ("derivatives/zz/sub-*/anat/sub-*_space-T1w_desc-expert_dseg.nii.gz", "derivatives/fs/sub-*/anat/sub-*_dseg.nii.gz"),
    ],
)  # fmt: skip
def test_bids_takes_the_map_that_people_drew_and_says_so(tmp_path, manual, automatic):
    rows, _, written = found(tmp_path, "bids", tree=two_maps(manual, automatic))
    for n in ("01", "02"):
        row = rows[f"sub-{n}_T1w"]
        assert row.files["labels"].endswith(manual.replace("*", n))
        assert row.label_source == "expert"
    assert (f"{automatic} (automatic), of 2 scans", f"{manual} (by hand) was taken") in written.left_out
    head = (tmp_path / "sheets/bids.tsv").read_text(encoding="utf-8")
    assert f"# of several maps, {manual} (by hand) was taken and {automatic} (automatic) was not, in 2 scans" in head


def test_bids_side_cars_say_who_drew_a_map(tmp_path):
    first, second = (f"derivatives/{n}/sub-*/anat/sub-*_dseg.nii.gz" for n in "ab")
    cars = {first.replace(".nii.gz", ".json"): False, second.replace(".nii.gz", ".json"): True}
    rows, _, _ = found(tmp_path, "bids", tree=two_maps(second, first, cars))
    assert {r.files["labels"].split("derivatives/")[1][0] for r in rows.values()} == {"b"}
    assert {r.label_source for r in rows.values()} == {"expert"}


def test_bids_prefers_the_map_of_the_very_run_where_the_manual_one_may_be_of_another(tmp_path):
    manual = "derivatives/manual/sub-*/anat/sub-*_dseg.nii.gz"
    tree = two_maps(manual, "derivatives/fs/sub-*/anat/sub-*_run-1_dseg.nii.gz", images=("_run-1", "_run-2"))
    rows, _, written = found(tmp_path, "bids", Options(unlabelled=True), tree)
    assert rows["sub-01_run-1_T1w"].label_source == "predicted"
    assert "labels" not in rows["sub-01_run-2_T1w"].files
    assert ("sub-01_dseg.nii.gz", "fits 2 images: sub-01_run-1_T1w, sub-01_run-2_T1w") in written.left_out


def test_bids_tells_of_maps_in_other_spaces_and_of_two_sources(tmp_path):
    def tree(folder):
        two_maps("derivatives/m/sub-*/anat/sub-*_desc-manual_dseg.nii.gz", "derivatives/m/x")(folder)
        (folder / "derivatives/m/sub-02/anat/sub-02_desc-manual_dseg.nii.gz").rename(
            folder / "derivatives/m/sub-02/anat/sub-02_desc-aseg_dseg.nii.gz"
        )
        trees.touch(folder, ["derivatives/m/sub-01/anat/sub-01_space-MNI152_dseg.nii.gz"])

    _, _, written = found(tmp_path, "bids", tree=tree)
    assert ("1 maps in space-MNI152", "not on the grid of an image") in written.left_out
    assert any("several sources (1 expert, 1 predicted)" in n for n in written.notes)


def test_bids_side_cars_that_are_not_there_are_no_error(tmp_path):
    def tree(folder):
        two_maps("derivatives/m/sub-*/anat/sub-*_desc-manual_dseg.nii.gz", "derivatives/m/x")(folder)
        (folder / "derivatives/m/sub-01/anat/sub-01_desc-manual_dseg.json").symlink_to("nowhere")

    assert found(tmp_path, "bids", tree=tree)[2].labelled == 2


def nnunet(labels: dict[str, object], order: list[int] | None = None, files: tuple[str, ...] = ()):
    def tree(folder):
        content = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
        trees.put(folder / "dataset.json", content | ({"regions_class_order": order} if order else {}))
        trees.touch(folder, ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", *files])

    return tree


BRATS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": [3]}


@pytest.mark.parametrize(
    ("labels", "order", "expected"),
    [
        (BRATS, [1, 2, 3], {"whole_tumor_1": 1, "tumor_core_2": 2, "enhancing_tumor": 3}),
        (BRATS, None, {"whole_tumor_1": 1, "tumor_core_2": 2, "enhancing_tumor": 3}),
        (BRATS | {"ignore": 4}, [1, 2, 3], {"whole_tumor_1": 1, "tumor_core_2": 2, "enhancing_tumor": 3, "ignore": 4}),
        ({"kidney": [1, 2], "tumour": 2}, None, {"kidney_1": 1, "tumour": 2}),
        ({"background": 0, "a": [1, 3], "b": [2, 3], "c": [3]}, [1, 2, 3], {"a_1": 1, "b_2": 2, "c": 3}),
        ({"liver": 1, "spleen": 2}, None, {"liver": 1, "spleen": 2}),
    ],
)
def test_nnunet_regions_name_the_ids_that_maps_hold(tmp_path, labels, order, expected):
    _, structures, written = found(tmp_path, "nnunet", tree=nnunet(labels, order))
    assert structures == expected
    notes = "\n".join(written.notes)
    assert ("regions are unions" in notes) == any(isinstance(v, list) for v in labels.values())
    assert ("id 4 (ignore) marks voxels that nobody annotated" in notes) == ("ignore" in labels)


def test_nnunet_takes_the_ending_of_its_table_and_names_the_other_file(tmp_path):
    other = ("imagesTr/a_0000.mha", "labelsTr/a.nii")
    rows, _, written = found(tmp_path, "nnunet", tree=nnunet({"x": 1}, files=other))
    assert rows["a"].files["image"].endswith("a_0000.nii.gz")
    assert rows["a"].files["labels"].endswith("a.nii.gz")
    assert ("a_0000.mha", "of the same scan a_0000.nii.gz was taken") in written.left_out
    assert ("a.nii", "of the same scan a.nii.gz was taken") in written.left_out


def test_other_layouts_name_the_maps_that_they_did_not_take(tmp_path):
    def ixi(folder):
        stem = "IXI002-Guys-0828-T1"
        trees.touch(folder, [f"{stem}{end}.nii.gz" for end in ("", "_DLMUSE", "_dseg", "_seg")])

    rows, _, written = found(tmp_path / "i", "ixi", tree=ixi)
    assert rows["IXI002-T1"].files["labels"].endswith("_DLMUSE.nii.gz")
    taken = "of the same scan IXI002-Guys-0828-T1_DLMUSE.nii.gz was taken"
    assert ("IXI002-Guys-0828-T1_dseg.nii.gz and 1 more", taken) in written.left_out

    def amos(folder):
        trees.touch(folder, ["imagesTr/amos_0001.nii.gz", *(f"labels{s}/amos_0001.nii.gz" for s in ("Tr", "Va"))])

    written = found(tmp_path / "a", "amos", tree=amos)[2]
    assert ("labelsVa/amos_0001.nii.gz", "of the same scan labelsTr/amos_0001.nii.gz was taken") in written.left_out

    def hanseg(folder):
        ends = ("OAR_Brain.seg.nrrd", "OAR_Brain.nrrd", "IMG_CT.nrrd")
        trees.touch(folder, [f"case_01/case_01_{end}" for end in ends])

    written = found(tmp_path / "h", "hanseg", tree=hanseg)[2]
    assert any(what.startswith("case_01_OAR_Brain") for what, _ in written.left_out)
