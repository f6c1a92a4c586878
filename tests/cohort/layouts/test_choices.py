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
