import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.cohort.phantoms.fields import oblique_grid
from volforge.errors import ScanError
from volforge.volume.voxelise import voxelise, voxelise_file


def grid(spacing=(1.0, 1.0, 1.0), tilt=(7.0, -4.0, 11.0), n=40):
    return oblique_grid(tuple(int(n / s) for s in spacing), spacing, (3.0, -5.0, 2.0), tilt)


def sphere(radius=11.0, centre=(3.0, -5.0, 2.0)):
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces)


@given(st.tuples(*[st.floats(0.6, 2.0)] * 3), st.tuples(*[st.floats(-40, 40)] * 3))
@settings(max_examples=25, deadline=None)
def test_sphere_has_its_volume_on_any_grid(spacing, tilt):
    g = grid(spacing, tilt)
    mask = voxelise(*sphere(), g)
    assert mask.sum() * g.voxel_mm3 == pytest.approx(4 / 3 * np.pi * 11**3, rel=0.06)


def test_each_voxel_agrees_with_the_analytic_ball():
    g = grid()
    index = np.indices(g.shape).reshape(3, -1)
    places = g.affine[:3, :3] @ index + g.affine[:3, 3:]
    distance = np.linalg.norm(places - np.array([[3.0], [-5.0], [2.0]]), axis=0).reshape(g.shape)
    mask = voxelise(*sphere(), g)
    clear = np.abs(distance - 11) > 0.05  # the mesh is a polyhedron inside the sphere
    assert np.array_equal(mask[clear], (distance < 11)[clear])


def test_box_on_voxel_planes_is_exact():
    """Faces, edges and corners run through grid lines; the result is still a box of the right size."""
    g = oblique_grid((20, 20, 20), (1.0, 1.0, 1.0), (9.5, 9.5, 9.5), (0, 0, 0))
    box = trimesh.creation.box(extents=(8, 6, 4), transform=trimesh.transformations.translation_matrix((9, 9, 9)))
    mask = voxelise(np.asarray(box.vertices), np.asarray(box.faces), g)
    assert 7 * 5 * 3 <= mask.sum() <= 9 * 7 * 5
    assert mask[6:13, 7:12, 8:11].all()


def test_orientation_of_the_normals_does_not_matter_and_shells_add_up():
    vertices, faces = sphere()
    g = grid()
    assert np.array_equal(voxelise(vertices, faces, g), voxelise(vertices, faces[:, ::-1], g))
    other, more = sphere(radius=8, centre=(10.0, -5.0, 2.0))
    both = voxelise(np.vstack([vertices, other]), np.vstack([faces, more + len(vertices)]), g)
    assert np.array_equal(both, voxelise(vertices, faces, g) | voxelise(other, more, g))


def write_stl(path, vertices, faces, header=b""):
    path.write_bytes(trimesh.Trimesh(vertices, faces).export(file_type="stl"))
    content = bytearray(path.read_bytes())
    content[: len(header)] = header
    path.write_bytes(bytes(content))
    return path


def test_frame_comes_from_header_or_cohort(tmp_path):
    vertices, faces = sphere()
    g = grid()
    truth = voxelise(vertices, faces, g)
    lps = vertices * [-1, -1, 1]
    told = write_stl(tmp_path / "told.stl", lps, faces, b"SPACE=LPS made by a test")
    for default in ("ras", "lps"):
        assert np.mean(voxelise_file(told, g, default)[0] != truth) < 1e-4
    silent = write_stl(tmp_path / "silent.stl", vertices, faces)
    assert np.mean(voxelise_file(silent, g, "ras")[0] != truth) < 1e-4


def test_wrong_frame_open_surface_and_rubbish_are_refused(tmp_path):
    vertices, faces = sphere(centre=(60.0, -50.0, 2.0))
    g = oblique_grid((40, 40, 40), (1.0, 1.0, 1.0), (60.0, -50.0, 2.0), (0, 0, 0))
    path = write_stl(tmp_path / "s.stl", vertices, faces)
    with pytest.raises(ScanError, match="in the other patient frame it would lie inside"):
        voxelise_file(path, g, "lps")
    half = write_stl(tmp_path / "open.stl", vertices, faces[: len(faces) // 2])
    with pytest.raises(ScanError, match="not closed"):
        voxelise_file(half, g, "ras")
    (tmp_path / "bad.stl").write_bytes(b"nothing")
    with pytest.raises(ScanError, match="surface"):
        voxelise_file(tmp_path / "bad.stl", g, "ras")


def ascii_stl(vertices, faces):
    return trimesh.exchange.stl.export_stl_ascii(trimesh.Trimesh(vertices, faces, process=False))


def test_stl_is_read_as_programs_write_it(tmp_path):
    vertices, faces = sphere()
    truth = voxelise(vertices, faces, grid())
    text, data = ascii_stl(vertices, faces), write_stl(tmp_path / "b.stl", vertices, faces).read_bytes()
    solid = b"solid exported by a program".ljust(80) + data[80:]
    for name, content in {
        "end_solid": text.rstrip().rsplit("endsolid", 1)[0].encode() + b"end solid part\n",
        "capitals": text.upper().replace("\n", "\r\n").encode(),
        "comma": text.replace(".", ",").encode(),
        "name": text.replace("solid", "solid vertex of facet", 1).encode(),
        "binary_solid": solid,
        "two_bytes_more": data + bytes(2),
        "block_more": solid + bytes(512),
    }.items():
        (tmp_path / "a.stl").write_bytes(content)
        mask, flags = voxelise_file(tmp_path / "a.stl", grid(), "ras")
        assert np.mean(mask != truth) < 1e-4, name
        assert flags == [], name


def test_stl_that_is_cut_short_or_no_stl_is_refused(tmp_path):
    vertices, faces = sphere()
    text, data = ascii_stl(vertices, faces), write_stl(tmp_path / "b.stl", vertices, faces).read_bytes()
    some = text.index("facet normal", len(text) // 2)
    for expected, content in {
        "truncated: 2558 of 5120 triangles": data[: 84 + 50 * 2558 + 7],
        "truncated: it has holes": text[:some].encode(),
        "vertices make no triangles": text[: text.index("endloop", len(text) // 2) - 20].encode(),
        "with commas and points": text.replace(".", ",", 40).encode(),
        "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "says 0 triangles, others follow": data[:80] + bytes(4) + data[84:],
        "no triangle": data[:80] + bytes(4),
    }.items():
        (tmp_path / "a.stl").write_bytes(content)
        with pytest.raises(ScanError, match=expected):
            voxelise_file(tmp_path / "a.stl", grid(), "ras")


def test_a_lost_triangle_and_turned_ones_make_no_streaks(tmp_path):
    """A line through the gap counted itself inside to the end of the grid: a column of voxels for each."""
    vertices, faces = sphere()
    truth = voxelise(vertices, faces, grid())
    some = np.arange(0, len(faces), 170)
    turned = faces.copy()
    turned[some] = turned[some, ::-1]
    for name, changed, flag in (
        ("lost", np.delete(faces, some, axis=0), "surface_nearly_closed"),
        ("turned", turned, "surface_normals_mended"),
    ):
        assert (voxelise(vertices, changed, grid()) != truth).sum() > 50, name
        mask, flags = voxelise_file(write_stl(tmp_path / f"{name}.stl", vertices, changed), grid(), "ras")
        assert flags == [flag]
        assert (mask != truth).sum() <= 4, name


def test_half_of_a_fine_mesh_is_not_nearly_closed(tmp_path):
    """Its rim has few edges: 0.4 % of them."""
    mesh = trimesh.creation.icosphere(6, 11.0)
    half = mesh.faces[mesh.triangles_center[:, 2] > 0]
    with pytest.raises(ScanError, match="not closed"):
        voxelise_file(write_stl(tmp_path / "h.stl", mesh.vertices, half), grid(), "ras")


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (0.001, "tiny: it is 0.022 mm large .taken as metres, it would lie inside(.|\n)*scale it by 1000 to mm"),
        (1000, "only 0% .* 2.2e.04 mm large .taken as micrometres, it would lie inside(.|\n)*scale it by 0.001"),
    ],
)
def test_other_units_are_named(tmp_path, factor, expected):
    vertices, faces = sphere()
    with pytest.raises(ScanError, match=expected):
        voxelise_file(write_stl(tmp_path / "m.stl", np.asarray(vertices) * factor, faces), grid(), "ras")


def test_a_hole_inside_stays_and_a_surface_turned_inside_out_is_filled(tmp_path):
    vertices, faces = sphere()
    inner, other = sphere(radius=6.0)
    both = np.concatenate([vertices, inner])
    hollow = np.concatenate([faces, other[:, ::-1] + len(vertices)])
    truth = voxelise(vertices, faces, grid())
    for name, turned, wanted in (
        ("hollow", hollow, truth & ~voxelise(inner, other, grid())),
        ("hollow_inside_out", hollow[:, ::-1], truth & ~voxelise(inner, other, grid())),
        ("inside_out", np.asarray(faces)[:, ::-1], truth),
    ):
        mask, flags = voxelise_file(write_stl(tmp_path / f"{name}.stl", both, turned), grid(), "ras")
        assert np.mean(mask != wanted) < 1e-4, name
        assert flags == []


def test_mesh_to_mask_to_mesh_keeps_the_shape():
    from skimage.measure import marching_cubes

    g = grid((0.8, 0.8, 0.8))
    mask = voxelise(*sphere(), g)
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(float), 0.5)
    places = (vertices - 1) @ g.affine[:3, :3].T + g.affine[:3, 3]
    again = voxelise(places, faces, g)
    assert 2 * (mask & again).sum() / (mask.sum() + again.sum()) > 0.97
