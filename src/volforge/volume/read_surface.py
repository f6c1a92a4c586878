"""Closed surfaces from STL, PLY and OBJ files as programs write them, in RAS millimetres."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Array
from volforge.volume.stand_ins import refuse_stand_in

if TYPE_CHECKING:
    import trimesh

TURN = np.array([-1.0, -1.0, 1.0])  # LPS to RAS, and back
MOST_OPEN = 0.01  # share of edges with one face only, and of area that is missing, up to which holes are closed
_STL_HEAD, _STL_FACE = 84, 50  # bytes: 80 of text and the number of triangles; a triangle
_VERTEX = re.compile(rb"(?im)^[ \t]*vertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?$")


def read_surface(path: Path, default_frame: str) -> tuple[Array, Array, list[str]]:
    """Read a closed surface (STL, PLY, OBJ): vertices in RAS mm, faces, flags.

    STL knows no patient frame. A header that says `SPACE=RAS` or `SPACE=LPS` (3D Slicer writes it) is believed,
    else `default_frame` holds. Small holes are closed, and triangles that are turned over against their neighbours
    are turned back; both are flagged.

    Raises:
        ScanError: unreadable, empty, truncated, or not closed.
    """
    import trimesh

    try:
        refuse_stand_in(path)
        mesh = _stl(path.read_bytes()) if path.suffix.lower() == ".stl" else trimesh.load_mesh(path, process=True)
    except ScanError as error:
        error.where = error.where or str(path)
        raise
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise ScanError(f"the surface cannot be read ({error})", str(path), "export it again") from error
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        raise ScanError("the surface has no triangle", str(path), "export it again")
    if not np.isfinite(mesh.vertices).all():
        raise ScanError("the surface has vertices that are no numbers", str(path), "export it again")
    flags: list[str] = []
    vertices, faces = _closed(mesh, path, flags)
    with path.open("rb") as file:
        head = file.read(400).decode("latin-1").upper()
    frame = next((f for f in ("RAS", "LPS") if f"SPACE={f}" in head), default_frame.upper())
    return vertices * TURN if frame == "LPS" else vertices, faces, flags


def _stl(content: bytes) -> trimesh.Trimesh:
    """A mesh of an STL file.

    What kind it is, is told by its size and its lines: binary ones too begin with "solid", and some programs leave
    bytes behind the last triangle.
    """
    import trimesh

    count = int.from_bytes(content[80:_STL_HEAD], "little")
    size = _STL_HEAD + count * _STL_FACE
    if len(content) != size and _VERTEX.search(content):
        return _ascii_stl(content)
    if len(content) < _STL_HEAD:
        raise ScanError("the surface has no triangle: it is neither binary nor ASCII STL", remedy="export it again")
    if not count and (len(content) - _STL_HEAD) // _STL_FACE:
        raise ScanError("the surface's header says 0 triangles, others follow", remedy="export it again")
    if len(content) < size:
        held = (len(content) - _STL_HEAD) // _STL_FACE
        raise ScanError(
            f"the surface is truncated: {held} of {count} triangles", remedy="copy it again, or export it again"
        )
    return trimesh.load_mesh(io.BytesIO(content[:size]), file_type="stl", process=True)


def _ascii_stl(content: bytes) -> trimesh.Trimesh:
    """The vertices of an ASCII file; all else of it may be spelt as it likes (`end solid`, capitals, no normals)."""
    import trimesh

    words = _VERTEX.findall(content)
    if len(words) % 3 or len(words) != len(re.findall(rb"(?im)^[ \t]*vertex\b", content)):
        raise ScanError("an ASCII STL whose vertices make no triangles", remedy="export it again, as binary STL")
    text = b" ".join(w for triple in words for w in triple)
    if b"," in text:
        if b"." in text:
            raise ScanError("an ASCII STL with commas and points in its numbers", remedy="export it as binary STL")
        text = text.replace(b",", b".")  # a program that writes numbers as its country does
    corners = np.array(text.split(), dtype=float).reshape(-1, 3)
    mesh = trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=True)
    if not mesh.is_watertight and not re.search(rb"(?i)end[ \t]*solid[^\n]*\s*\Z", content):
        raise ScanError("the surface is truncated: it has holes, and no `endsolid` at its end", remedy="copy it again")
    return mesh


def _closed(mesh: trimesh.Trimesh, path: Path, flags: list[str]) -> tuple[Array, Array]:
    """Vertices and faces of a surface without open edges, all faces turned as their neighbours are.

    A line through a hole, or through a triangle that is turned over, would count itself inside to the grid's end.
    """
    import trimesh

    boundary = trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)
    refusal = ScanError(
        f"the surface is not closed ({len(boundary)} open edges): its inside is not defined",
        str(path),
        "close the holes before import",
    )
    if len(boundary) > MOST_OPEN * len(mesh.edges):
        raise refusal
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_winding(mesh)
        flags.append("surface_normals_mended")
    vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
    if not len(boundary):
        return vertices, faces
    flags.append("surface_nearly_closed")
    vertices, lids = _lids(vertices, faces)
    if _area(vertices, lids) > MOST_OPEN * _area(vertices, faces):  # few edges of a fine mesh may bound its half
        raise refusal
    return vertices, np.concatenate([faces, lids])


def _area(vertices: Array, faces: Array) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _lids(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Faces that close the holes of a surface, a cone from the centre of each over its rim; vertices with those."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    key, turned = (edges[:, a].astype(np.int64) * len(vertices) + edges[:, b] for a, b in ((0, 1), (1, 0)))
    rim = edges[~np.isin(key, turned)]
    graph = coo_array((np.ones(len(rim)), (rim[:, 0], rim[:, 1])), shape=(len(vertices), len(vertices)))
    hole_of = connected_components(graph, directed=False)[1][rim[:, 0]]
    holes, which = np.unique(hole_of, return_inverse=True)
    centres = np.stack([vertices[rim[which == h].ravel()].mean(axis=0) for h in range(len(holes))])
    lids = np.stack([rim[:, 1], rim[:, 0], len(vertices) + which], axis=1)
    return np.concatenate([vertices, centres]), lids
