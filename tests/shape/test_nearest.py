"""The nearest places of a mesh agree with trimesh, and lie on the mesh."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.shape.mesh import Mesh
from volforge.shape.nearest import nearest_on


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3.0))
def test_distances_are_those_of_trimesh(seed, stretch):
    ball = trimesh.creation.icosphere(subdivisions=3, radius=10.0)
    mesh = Mesh(np.asarray(ball.vertices) * [1, 1, stretch], np.asarray(ball.faces))
    points = np.random.default_rng(seed).normal(0, 9, (50, 3))
    places, away = nearest_on(mesh, points)
    expected = trimesh.proximity.closest_point(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), points)[1]
    near = expected < 2  # so near the nearest vertices own the nearest face
    assert np.allclose(away[near], expected[near], atol=1e-6)
    assert (away >= expected - 1e-9).all()
    assert np.allclose(np.linalg.norm(places - points, axis=1), away)


def test_corners_edges_and_faces_of_a_triangle():
    mesh = Mesh(np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]]), np.array([[0, 1, 2]]))
    points = np.array([[-1.0, -1, 0], [6, 0, 0], [0, 5, 0], [2, -2, 0], [-2, 1, 0], [4, 3, 0], [1, 1, 7]])
    places, away = nearest_on(mesh, points)
    expected = [[0, 0, 0], [4, 0, 0], [0, 3, 0], [2, 0, 0], [0, 1, 0], [2.56, 1.08, 0], [1, 1, 0]]
    assert np.allclose(places, expected)
    assert away[-1] == pytest.approx(7)


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(ValueError, match="without a face"):
        nearest_on(Mesh(np.zeros((3, 3)), np.zeros((0, 3), np.int64)), np.zeros((1, 3)))
