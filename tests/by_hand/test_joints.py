"""Negative volumes by hand: masks in; volumes, meshes and numbers out."""

import json

import numpy as np
import pytest

from tests.conftest import save, volforge
from tests.shape.joints import UNDER_FOSSA_MM3
from tests.tasks.negative_volume.test_arm import head


def test_any_two_masks(tmp_path):
    values, affine = head()
    save(tmp_path / "condyle.nii.gz", (values == 1).astype(np.uint8), affine)
    save(tmp_path / "bones.nii.gz", values, affine)
    done = volforge(
        "shape", "inflate", "--condyle", tmp_path / "condyle.nii.gz", "--barrier", tmp_path / "bones.nii.gz",
        "--barrier-ids", "3", "--out", tmp_path / "out", "--sensitivity", "8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out/negative_volume.json").read_text())
    assert record["joint_space_mm3"] == pytest.approx(UNDER_FOSSA_MM3, rel=0.05)
    assert record["sensitivity"][0]["r_max_mm"] == 8
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "negative_volume.nii.gz", "negative_volume.json", "joint_condyle.stl", "joint_negative_volume.ply"
    }  # fmt: skip
    assert "joint space 16" in done.stdout
    both = volforge(
        "shape", "asymmetry", "--left", tmp_path / "bones.nii.gz", "--left-ids", "1", "--left-barrier",
        tmp_path / "bones.nii.gz", "--left-barrier-ids", "3", "--right", tmp_path / "bones.nii.gz", "--right-ids", "2",
        "--right-barrier", tmp_path / "bones.nii.gz", "--right-barrier-ids", "4", "--out", tmp_path / "a.json",
    )  # fmt: skip
    assert both.returncode == 0, both.stderr
    found = json.loads((tmp_path / "a.json").read_text())["asymmetry"]
    assert found["joint_space_mm3"]["percent"] < 1
    near = volforge(
        "shape", "inflate", "--condyle", tmp_path / "condyle.nii.gz", "--barrier", tmp_path / "bones.nii.gz",
        "--barrier-ids", "3", "--out", tmp_path / "near", "--joint-space", "3",
    )  # fmt: skip
    assert near.returncode == 0, near.stderr
    bounded = json.loads((tmp_path / "near/negative_volume.json").read_text())
    assert (bounded["joint_space_mm"], bounded["r_max_mm"]) == (3, 14)
    assert bounded["joint_space_mm3"] == 0  # the gap is 4 mm wide
    assert bounded["negative_volume_mm3"] == record["negative_volume_mm3"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--barrier-ids", "9"], "ids of the file: 0, 1, 2, 3, 4"),
        (["--barrier-ids", "three"], "are no ids"),
        (["--barrier-ids", "3", "--condyle-ids", "7"], "no voxel has the id 7"),
        (["--barrier-ids", "3", "--condyle-ids", "1", "--method", "blender"], "one of ray, mesh"),
        ([], "the same voxels"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, options, words):
    values, affine = head()
    save(tmp_path / "bones.nii.gz", values, affine)
    bones = tmp_path / "bones.nii.gz"
    done = volforge("shape", "inflate", "--condyle", bones, "--barrier", bones, "--out", tmp_path / "out", *options)
    assert done.returncode == 1
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_grids_are_refused(tmp_path):
    values, affine = head()
    save(tmp_path / "bones.nii.gz", values, affine)
    save(tmp_path / "shifted.nii.gz", values, affine + np.array([[0, 0, 0, 5]] + [[0] * 4] * 3))
    done = volforge(
        "shape", "inflate", "--condyle", tmp_path / "bones.nii.gz", "--condyle-ids", "1", "--barrier",
        tmp_path / "shifted.nii.gz", "--barrier-ids", "3", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 1
    assert "not on the grid of" in done.stderr


@pytest.mark.parametrize("option", ["--cube", "--step", "--r-max"])
def test_lengths_lie_above_0(tmp_path, option):
    values, affine = head()
    save(tmp_path / "bones.nii.gz", values, affine)
    bones = tmp_path / "bones.nii.gz"
    done = volforge(
        "shape", "inflate", "--condyle", bones, "--condyle-ids", "1", "--barrier", bones, "--barrier-ids", "3",
        "--out", tmp_path / "out", option, "0",
    )  # fmt: skip
    assert done.returncode == 2
    assert option in done.stderr


def test_nothing_is_written_over_an_input(tmp_path):
    values, affine = head()
    folder = tmp_path / "scan"
    folder.mkdir()
    (folder / ".volforge").touch()  # as folders of ours have
    bones = save(folder / "labels.nii.gz", values, affine)
    before = bones.read_bytes()
    words = ["--condyle", bones, "--condyle-ids", "1", "--barrier", bones, "--barrier-ids", "3"]
    done = volforge("shape", "inflate", *words, "--out", folder)
    assert done.returncode == 1
    assert "would replace the folder that holds condyle" in done.stderr
    sides = []
    for side, ids in (("left", "13"), ("right", "24")):
        sides += [
            f"--{side}",
            bones,
            f"--{side}-ids",
            ids[0],
            f"--{side}-barrier",
            bones,
            f"--{side}-barrier-ids",
            ids[1],
        ]
    for out, wrong in ((bones, "would be written over"), (tmp_path / "a.txt", "written as .json")):
        done = volforge("shape", "asymmetry", *sides, "--out", out)
        assert done.returncode == 1
        assert wrong in done.stderr
    assert bones.read_bytes() == before


def test_others_do_not_hold_condyle_and_barrier(tmp_path):
    values, affine = head()
    bones = save(tmp_path / "bones.nii.gz", values, affine)
    words = ["--condyle", bones, "--condyle-ids", "1", "--barrier", bones, "--barrier-ids", "3"]
    records = []
    for name, more in (("plain", ["--other-ids", "2"]), ("all", [])):
        done = volforge("shape", "inflate", *words, "--others", bones, *more, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        records.append(json.loads((tmp_path / name / "negative_volume.json").read_text()))
    assert records[0]["flags"] == records[1]["flags"]
    assert records[0]["joint_space_mean_mm"] == pytest.approx(records[1]["joint_space_mean_mm"])
