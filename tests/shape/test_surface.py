"""Surfaces and meshes: closed, outward, with the volume of their voxels, in patient coordinates whatever the grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from tests.shape.joints import turned
from volforge.errors import VolforgeError
from volforge.shape.mesh import Mesh, largest_piece, vertex_normals, write_ply, write_stl
from volforge.shape.surface import surface_of_mask
from volforge.volume.geometry import Array, Grid
from volforge.volume.voxelise import read_surface, voxelise


def _ellipsoid(
    spacing: tuple[float, float, float], turn: tuple[float, float, float] = (0, 0, 0), flip: bool = False
) -> tuple[Array, Grid]:
    shape = tuple(int(44 / s) for s in spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = turned(turn) @ np.diag(spacing)
    if flip:
        matrix[:3, 0] *= -1
    matrix[:3, 3] = np.array([30.0, -20.0, 10.0]) - matrix[:3, :3] @ (np.array(shape) / 2)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    mm = index @ matrix[:3, :3].T + matrix[:3, 3] - np.array([30.0, -20.0, 10.0])
    x, y, z = shape
    return ((mm / [9.0, 6.0, 14.0]) ** 2).sum(axis=-1) < 1, Grid((x, y, z), matrix)


EXACT = 4 / 3 * np.pi * 9 * 6 * 14


@pytest.mark.parametrize(
    ("spacing", "turn", "flip"),
    [
        ((0.5, 0.5, 0.5), (0, 0, 0), False),
        ((0.4, 0.4, 1.2), (0, 0, 0), False),
        ((0.7, 0.7, 0.7), (20, -30, 50), False),
        ((0.5, 0.5, 1.0), (20, -30, 50), True),
    ],
    ids=["cubic", "anisotropic", "turned", "left-handed, turned"],
)
def test_a_surface_is_closed_outward_and_has_the_volume_of_its_voxels(
    spacing: tuple[float, float, float], turn: tuple[float, float, float], flip: bool
) -> None:
    mask, grid = _ellipsoid(spacing, turn, flip)
    found = surface_of_mask(mask, grid)
    assert found.watertight
    assert found.euler == 2
    assert not set(found.flags) - {"not_checked"}
    assert found.mesh.volume_mm3 == pytest.approx(np.count_nonzero(mask) * grid.voxel_mm3, rel=0.03)
    assert found.mesh.volume_mm3 == pytest.approx(EXACT, rel=0.03)
    assert found.mesh.vertices.mean(axis=0) == pytest.approx([30, -20, 10], abs=0.3)
    low, high = found.mesh.vertices.min(axis=0), found.mesh.vertices.max(axis=0)
    assert high - low == pytest.approx([18, 12, 28], abs=1.5 * max(spacing))
    outward = vertex_normals(found.mesh.vertices, found.mesh.faces)
    assert (np.einsum("ij,ij->i", outward, found.mesh.vertices - [30, -20, 10]) > 0).mean() > 0.99


def test_mask_to_mesh_to_mask_is_the_same_mask() -> None:
    mask, grid = _ellipsoid((0.6, 0.6, 0.9), (10, 20, -15))
    mesh = surface_of_mask(mask, grid).mesh
    back = voxelise(mesh.vertices, mesh.faces, grid)
    assert 2 * np.count_nonzero(mask & back) / (mask.sum() + back.sum()) > 0.97


def test_measures_of_a_mesh_agree_with_trimesh() -> None:
    mask, grid = _ellipsoid((0.8, 0.8, 0.8), (5, 5, 5))
    mesh = surface_of_mask(mask, grid).mesh
    peer = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert mesh.volume_mm3 == pytest.approx(peer.volume)
    assert mesh.area_mm2 == pytest.approx(peer.area)
    assert mesh.euler == peer.euler_number
    assert mesh.is_watertight == peer.is_watertight
    assert len(mesh.edges) == len(peer.edges_unique)
    assert mesh.vertex_areas.sum() == pytest.approx(peer.area)


def test_an_open_mesh_is_not_watertight() -> None:
    mask, grid = _ellipsoid((0.8, 0.8, 0.8))
    mesh = surface_of_mask(mask, grid).mesh
    assert mesh.is_watertight
    assert not Mesh(mesh.vertices, mesh.faces[1:]).is_watertight
    assert not Mesh(mesh.vertices, np.r_[mesh.faces, mesh.faces[:1]]).is_watertight


def test_bone_that_the_grid_cuts_is_closed_there() -> None:
    mask, grid = _ellipsoid((0.5, 0.5, 0.5))
    cut = mask[:, :, : mask.shape[2] // 2]
    x, y, z = cut.shape
    found = surface_of_mask(cut, Grid((x, y, z), grid.affine))
    assert found.watertight
    assert found.mesh.volume_mm3 == pytest.approx(EXACT / 2, rel=0.04)


def test_a_thin_plate_keeps_its_volume_and_does_not_cut_itself() -> None:
    from volforge.shape.meshlab import library, self_intersections

    mask = np.zeros((40, 40, 20), bool)
    mask[5:35, 5:35, 10] = True
    mask[5:35, 5:35, 11] = np.random.default_rng(0).random((30, 30)) < 0.3
    found = surface_of_mask(mask, Grid((40, 40, 20), np.diag([0.5, 0.5, 0.5, 1])))
    assert found.watertight
    assert found.mesh.volume_mm3 == pytest.approx(np.count_nonzero(mask) * 0.125, rel=0.15)
    if library() is not None:
        assert self_intersections(found.mesh) == 0


def test_the_largest_piece_is_that_of_the_largest_volume() -> None:
    mask, grid = _ellipsoid((0.8, 0.8, 0.8))
    two = mask.copy()
    two[1:4, 1:4, 1:4] = True
    both = surface_of_mask(two, grid, whole=True).mesh
    assert largest_piece(both).volume_mm3 == pytest.approx(surface_of_mask(mask, grid).mesh.volume_mm3, rel=0.01)
    assert both.euler == 4


def test_an_empty_mask_has_no_surface() -> None:
    with pytest.raises(VolforgeError, match="empty mask"):
        surface_of_mask(np.zeros((4, 4, 4), bool), Grid((4, 4, 4), np.eye(4)))


def test_files_come_back_in_patient_coordinates(tmp_path: Path) -> None:
    mask, grid = _ellipsoid((0.7, 0.7, 0.7), (15, 0, 30))
    mesh = surface_of_mask(mask, grid).mesh
    write_stl(tmp_path / "a.stl", mesh, "condyle left")
    vertices, faces, _ = read_surface(tmp_path / "a.stl", "lps")  # its header says RAS, and is believed
    assert Mesh(vertices, faces).volume_mm3 == pytest.approx(mesh.volume_mm3, rel=1e-4)
    assert vertices.min(axis=0) == pytest.approx(mesh.vertices.min(axis=0), abs=1e-3)
    values = np.linspace(0, 1, len(mesh.vertices))
    colours = np.full((len(mesh.vertices), 3), 7, np.uint8)
    write_ply(tmp_path / "a.ply", mesh, colours, {"width_mm": values})
    peer = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.allclose(peer.vertices, mesh.vertices, atol=1e-3)
    assert np.array_equal(peer.faces, mesh.faces)
    assert (peer.visual.vertex_colors[:, :3] == 7).all()
    assert peer.metadata["_ply_raw"]["vertex"]["data"]["width_mm"].ravel() == pytest.approx(values, abs=1e-6)
