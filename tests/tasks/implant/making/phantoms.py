"""Shells with a hole and its implant, whose gaps, steps and thickness have closed forms."""

import numpy as np

from volforge.tasks.implant.making.scene import Scene

INNER_MM, OUTER_MM, HALF_DEGREES = 64.0, 70.0, 20.0
ORIGIN = np.zeros(3)


def rotated(degrees):
    """A rotation about an axis that is none of the grid's."""
    from scipy.spatial.transform import Rotation

    axis = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    return Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()


def shell_masks(spacing=(0.5, 0.5, 0.5), gap_degrees=1.0, outer=0.0, inner=0.0, turn=None, axis=(0.3, 0.2, 1.0)):
    """Implant, bone and affine: a shell about the origin with a round hole about an axis.

    Args:
        gap_degrees: By so much the implant's half angle is smaller.
        outer, inner: Added to the implant's radii.
        turn: Columns of the grid's axes; None: straight.
    """
    axis = np.array(axis) / np.linalg.norm(axis)
    turn = np.eye(3) if turn is None else turn
    linear = turn * np.array(spacing)
    half = OUTER_MM * np.sin(np.radians(HALF_DEGREES)) + 18
    middle = axis * (INNER_MM + OUTER_MM) / 2
    shape = tuple(int(np.ceil(2 * half / s)) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = middle - linear @ (np.array(shape) - 1) / 2
    places = np.indices(shape).reshape(3, -1).T @ linear.T + affine[:3, 3]
    far = np.linalg.norm(places, axis=1)
    angle = np.degrees(np.arccos(np.clip(places @ axis / far, -1, 1)))
    bone = (far >= INNER_MM) & (far < OUTER_MM) & (angle > HALF_DEGREES)
    implant = (far >= INNER_MM + inner) & (far < OUTER_MM + outer) & (angle < HALF_DEGREES - gap_degrees)
    return implant.reshape(shape), bone.reshape(shape), affine


def shell_scene(**options):
    """The same as a scene."""
    return Scene.of(*shell_masks(**options), centre=ORIGIN)


def plate_masks(step, hole, implant, thick=6.0, half=28.0):
    """Implant, bone and affine of a flat plate; `hole(r, z)` and `implant(r, z)` say what is cut and what is put in."""
    count = int(2 * half / step)
    shape = (count, count, int((thick + 16) / step))
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * step
    x, y, z = (np.indices(shape)[a] * step + affine[a, 3] for a in range(3))
    r = np.hypot(x, y)
    plate = np.abs(z) < thick / 2
    return plate & implant(r, z), plate & ~hole(r, z), affine
