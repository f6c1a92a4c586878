"""Joint space of the phantom heads from their labels, against the shapes that they were drawn from, without voxels."""

from dataclasses import replace

import numpy as np
import pytest

from volforge.cohort.phantoms.fields import subject_points
from volforge.cohort.phantoms.tmj import HALF_DISTANCE_MM, STRUCTURES, Joint, draw, joint_shapes
from volforge.shape.asymmetry import asymmetry_index
from volforge.shape.bones import bones_of
from volforge.shape.inflate import bounded_by_bone, inflate
from volforge.shape.joint import JointSettings, measure_joint
from volforge.volume.geometry import Grid, reorientation_of

FINE_MM = 0.3
BOUNDS_MM = (None, 8.0)  # as far as it is inflated; as in config/config.yaml


def bones_at(truth, side, places):
    """Signed distances (of the shapes as drawn, negative inside) of condyle, rest of the mandible and temporal bone.

    Truth without voxels, for whatever grid is asked; the air cells of the mastoid are drawn elsewhere in it.

    Args:
        truth: What `draw` says of a head.
        side: `left` or `right`.
        places: x, y, z in RAS mm of the file.
    """
    values = dict(truth["joints"][side]["drawn"])
    joint = Joint(**{**values, "semi": tuple(values["semi"])})
    p = subject_points(places, np.array(truth["turn"]), np.array(truth["shift_mm"]), truth["scale"])
    sign = -1.0 if side == "left" else 1.0
    local = (sign * p[0] - np.float32(HALF_DISTANCE_MM), p[1], p[2])
    return joint_shapes(local, joint, np.random.default_rng(0))


def true_joint_spaces(truth, side, centre):
    """Joint space of the drawn shapes on a fine grid, by how far it is bounded."""
    n = int(62 / FINE_MM)  # the clip cube, and bone as far as rays look beyond it
    axes = [centre[a] + (np.arange(n) - (n - 1) / 2) * FINE_MM for a in range(3)]
    places = tuple(a.astype(np.float32) for a in np.meshgrid(*axes, indexing="ij"))
    condyle, rest, temporal = (d < 0 for d in bones_at(truth, side, places))
    condyle &= ~temporal
    matrix = np.diag([FINE_MM] * 3 + [1.0])
    matrix[:3, 3] = [a[0] for a in axes]
    bones = bones_of(
        condyle,
        temporal,
        rest & ~condyle & ~temporal,
        Grid((n, n, n), matrix),
        step_mm=FINE_MM,
        margin_mm=14.0,
        close_mm=0,
    )
    space = inflate(bones, "ray", 14.0).space
    voxel = bones.frame.step_mm**3
    return [
        float(np.count_nonzero(bounded_by_bone(replace(bones, bound_mm=b), space, 14.0)) * voxel) for b in BOUNDS_MM
    ]


@pytest.mark.slow
def test_joint_space_and_asymmetry_of_phantom_heads():
    errors, indices = [], []
    for number in (1, 2, 3, 5, 7):  # plain cases; a roof that the labels lost is another matter
        scan = draw(1, f"tmj-subject-{number:02}", "plain")
        turn = reorientation_of(scan.grid.affine)
        labels, grid = np.asfortranarray(turn.apply(scan.volumes["labels"])), turn.canonical(scan.grid)
        own, true = [], []
        for side in ("left", "right"):
            masks = [labels == STRUCTURES[f"{n}_{side}"] for n in ("condyle", "temporal_bone", "mandible")]
            found = [
                measure_joint(*masks, grid, JointSettings(with_width=False, with_surfaces=False, joint_space_mm=b))
                for b in BOUNDS_MM
            ]
            own.append([f.joint_space_mm3 for f in found])
            true.append(true_joint_spaces(scan.truth, side, found[0].bones.frame.centre))
        errors += [a / b - 1 for x, y in zip(own, true, strict=True) for a, b in zip(x, y, strict=True)]
        pairs = [[asymmetry_index(v[0][k], v[1][k])[0] for v in (own, true)] for k in range(len(BOUNDS_MM))]
        indices.append([abs(a - b) for a, b in pairs])
    assert np.abs(errors).max() < 0.1
    whole, near = np.array(indices).T
    assert whole.mean() < 2
    assert whole.max() < 5
    assert near.mean() < 1.5
    assert near.max() < 3  # a roof full of pinholes; the others stay within 2 points


def test_a_drawn_joint_can_be_asked_at_any_place():
    scan = draw(1, "tmj-subject-01", "plain")
    turn = reorientation_of(scan.grid.affine)
    labels, grid = turn.apply(scan.volumes["labels"]), turn.canonical(scan.grid)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    mm = (index @ grid.affine[:3, :3].T + grid.affine[:3, 3]).astype(np.float32)
    condyle, _, _ = bones_at(scan.truth, "left", (mm[..., 0], mm[..., 1], mm[..., 2]))
    inside = condyle < 0
    own = labels == STRUCTURES["condyle_left"]
    assert 2 * np.count_nonzero(inside & own) / (inside.sum() + own.sum()) > 0.999
