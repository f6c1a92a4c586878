"""Printable meshes: closed, of their voxels' volume, and never mirrored."""

import json

import numpy as np
import pytest
import trimesh
from scipy.ndimage import gaussian_filter

from tests.tasks.implant.making.phantoms import rotated, shell_masks
from volforge.errors import VolforgeError
from volforge.tasks.implant.mesh import PrintOptions, dimensions, printable, write_printable

AXES = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "LAS": np.diag([-1.0, 1.0, 1.0]),
    "oblique": rotated(30),
    "oblique mirrored": rotated(30) @ np.diag([1.0, -1.0, 1.0]),
    "PSR": np.eye(3)[[2, 0, 1]] * [[-1.0], [1.0], [1.0]],
}


def hand(axes, spacing=(0.8, 0.7, 0.9)):
    """Three arms of different length along R, A and S, on a grid of any axes: only its mirror image has them other."""
    half = 26.0
    shape = tuple(int(2 * half / s) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    p = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    arms = np.zeros(len(p), bool)
    for axis, length in enumerate((18.0, 12.0, 7.0)):
        beside = np.delete(p, axis, axis=1)
        arms |= (np.abs(beside) < 3).all(axis=1) & (p[:, axis] > -3) & (p[:, axis] < length)
    return arms.reshape(shape), affine


@pytest.mark.parametrize("axes", AXES)
def test_no_affine_mirrors_a_mesh(axes):
    mask, affine = hand(AXES[axes])
    found = printable(mask, affine)
    assert found.watertight
    assert found.crossing in (0, None)
    high, low = found.mesh.vertices.max(axis=0), found.mesh.vertices.min(axis=0)
    assert np.allclose(high, (18, 12, 7), atol=0.8)
    assert np.allclose(low, (-3, -3, -3), atol=0.8)
    assert found.mesh.volume_mm3 > 0  # faces look outwards
    assert abs(found.volume_error) < 0.02


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("faces", [100_000, 4000])
def test_a_shell_is_printed_as_it_is(soft, faces, tmp_path):
    implant, _, affine = shell_masks(gap_degrees=0.5, spacing=(0.6, 0.6, 0.7))
    values = gaussian_filter(implant.astype(np.float32), 0.7) if soft else implant
    found = printable(values, affine, PrintOptions(faces=faces))
    assert found.watertight
    assert found.crossing in (0, None)
    assert found.mesh.euler == 2
    assert abs(found.volume_error) < 0.02
    assert len(found.mesh.faces) <= faces
    radius = np.linalg.norm(found.mesh.vertices, axis=1)
    assert 63 < radius.min() < 64.5
    assert 69.5 < radius.max() < 71
    content = dimensions(found)
    wide = 2 * 70 * np.sin(np.radians(19.5))
    deep = 70 - 64 * np.cos(np.radians(19.5))
    assert content["oriented_box_mm"] == pytest.approx([wide, wide, deep], abs=1.0)


def test_files_hold_the_mesh_and_name_their_axes(tmp_path):
    mask, affine = hand(np.eye(3))
    found = printable(mask, affine)
    for space, sign in (("RAS", 1.0), ("LPS", -1.0)):
        content = write_printable(tmp_path, space, found, space)
        assert json.loads((tmp_path / f"{space}.mesh.json").read_text()) == content
        assert content["space"] == space
        assert content["watertight"]
        assert content["volume_cm3"] == pytest.approx(mask.sum() * 0.504 / 1000, rel=0.02)
        assert f"SPACE={space}".encode() in (tmp_path / f"{space}.stl").read_bytes()[:80]
        for ending in ("stl", "ply"):
            read = trimesh.load(tmp_path / f"{space}.{ending}")
            assert read.volume == pytest.approx(found.mesh.volume_mm3, rel=1e-4)  # half a turn is no mirror
            assert sign * read.vertices[:, 0][np.abs(read.vertices[:, 0]).argmax()] == pytest.approx(18, abs=0.8)
    assert f"SPACE={space}".encode() in (tmp_path / f"{space}.ply").read_bytes()[:200]


def test_the_same_mask_gives_the_same_bytes(tmp_path):
    mask, affine = hand(np.eye(3))
    for name in ("a", "b"):
        write_printable(tmp_path, name, printable(mask, affine, PrintOptions(faces=1500)))
    assert (tmp_path / "a.stl").read_bytes()[80:] == (tmp_path / "b.stl").read_bytes()[80:]


def test_an_implant_at_the_end_of_the_grid_is_closed_there():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 5:15, 10:] = True
    found = printable(mask, np.eye(4))
    assert found.watertight
    assert abs(found.volume_error) < 0.02


def test_nothing_has_no_mesh():
    with pytest.raises(VolforgeError, match="empty"):
        printable(np.zeros((9, 9, 9), bool), np.eye(4))
    with pytest.raises(VolforgeError, match="empty"):
        printable(np.full((9, 9, 9), 0.2, np.float32), np.eye(4))
