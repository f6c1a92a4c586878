"""Surfaces of a bone: marching cubes with smoothing, against VTK's and against scikit-image's with trimesh's smoothing.

Ours starts at the mask and ends with a mesh that keeps the volume of its voxels, is closed, and was seen not to cut
itself. The peers start at the same signed distance and look at nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.rows import Peer, Row, Scale

SPACING = 0.6


def bone(shape: tuple[int, int, int]) -> np.ndarray:
    """A thick wavy shell, open below."""
    x, y, z = (np.linspace(-1, 1, n).reshape([-1 if a == k else 1 for a in range(3)]) for k, n in enumerate(shape))
    r = np.sqrt(x**2 + y**2 + z**2) + 0.02 * np.sin(9 * x) * np.cos(8 * y)
    return (r > 0.62) & (r < 0.8) & (z > -0.45)


def by_vtk(field: np.ndarray) -> Any:
    """Flying edges and a windowed sinc: corners (V, 3) and faces (F, 3)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkWindowedSincPolyDataFilter

    image = vtkImageData()
    image.SetDimensions(*field.shape)
    image.SetSpacing(SPACING, SPACING, SPACING)
    image.GetPointData().SetScalars(numpy_to_vtk(field.ravel(order="F")))
    edges, smooth = vtkFlyingEdges3D(), vtkWindowedSincPolyDataFilter()
    edges.SetInputData(image)
    edges.SetValue(0, 0.0)
    edges.ComputeNormalsOff()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(20)
    smooth.SetPassBand(0.1)
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    smooth.Update()
    found = smooth.GetOutput()
    faces = vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return vtk_to_numpy(found.GetPoints().GetData()), faces


def by_skimage(field: np.ndarray, *, taubin: bool) -> Any:
    from skimage.measure import marching_cubes

    corners, faces, _, _ = marching_cubes(field, 0.0, spacing=(SPACING,) * 3, gradient_direction="ascent")
    if not taubin:
        return corners, faces
    import trimesh

    shape = trimesh.Trimesh(corners, faces, process=False)
    trimesh.smoothing.filter_taubin(shape, lamb=0.5, nu=0.53, iterations=10)
    return shape.vertices, shape.faces


def rows(scale: Scale) -> Iterator[Row]:
    from volforge.shape.field import signed_distance
    from volforge.shape.mesh import Mesh
    from volforge.shape.surface import surface_of_field

    shape = scale.of((150, 150, 150), (32, 32, 32))
    field = signed_distance(bone(shape), (SPACING,) * 3)
    field = np.pad(field, 1, constant_values=1.0)
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    tolerance = SPACING / 2

    def near(ours: Any, theirs: Any) -> str:
        from scipy.spatial import cKDTree

        corners = np.asarray(theirs[0], float)
        a, b = cKDTree(ours.mesh.vertices), cKDTree(corners)
        off = max(np.median(a.query(corners)[0]), np.median(b.query(ours.mesh.vertices)[0]))
        other = Mesh(corners, np.asarray(theirs[1], np.int64))
        volume = abs(other.volume_mm3) / ours.mesh.volume_mm3 - 1
        assert off < tolerance, f"{off:.2f} mm apart"
        assert abs(volume) < scale.of(0.02, 0.1), f"volumes differ by {volume:.1%}"
        return f"{off:.2f} mm apart (median of vertices), volume {volume:+.1%}"

    vertices = len(surface_of_field(field, affine).mesh.vertices)
    why = "over half of ours is looking for faces that cut each other (MeshLab), which the peers do not"
    yield Row(
        f"surface of a bone, {'x'.join(map(str, shape))} voxels, {vertices:,} vertices",
        lambda: surface_of_field(field, affine),
        (
            Peer("VTK: flying edges, windowed sinc", lambda: by_vtk(field), near, ("vtkmodules",), why=why),
            Peer("scikit-image and trimesh: Taubin", lambda: by_skimage(field, taubin=True), near, why=why),
            Peer(
                "bare marching cubes", lambda: by_skimage(field, taubin=False), near, is_limit=True,
                why="smoothing and looking for faces that cut each other are most of the work",
            ),
        ),
        turns=5,
    )  # fmt: skip
