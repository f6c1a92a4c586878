"""Inflation of one joint against the same operations by trimesh: nearest place of the condyle, and rays to the barrier.

The peer does a part and is counted up: all of it would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from tests.shape.joints import joint

from benchmarks.rows import Peer, Row, Scale

R_MAX_MM, STEP_MM = 14.0, 0.2
LEAST_EQUAL = 0.95  # places next to the border of what bone hides fall on either side


def rows(scale: Scale) -> Iterator[Row]:
    import trimesh

    from volforge.shape.bones import bones_of
    from volforge.shape.field import sample
    from volforge.shape.inflate import inflate
    from volforge.shape.inflate_mesh import condyle_surface, inflate_mesh
    from volforge.shape.joint import barrier_surface

    spacing = scale.of(0.4, 0.8)
    one = joint((spacing, spacing, spacing))
    bones = bones_of(one.condyle, one.barrier, None, one.grid, step_mm=spacing)
    condyle = condyle_surface(bones).mesh
    meshes = [trimesh.Trimesh(m.vertices, m.faces, process=False) for m in (condyle, barrier_surface(bones).mesh)]
    # bones remember what was asked of them: each call below has fresh ones
    free = bones.in_cube & ~bones.condyle_mask & ~bones.barrier_mask
    candidates = np.argwhere(free)
    count = min(len(candidates), scale.of(1500, 300))
    picked = candidates[np.random.default_rng(0).choice(len(candidates), count, replace=False)]
    places = bones.frame.to_mm(picked)

    def by_rays() -> np.ndarray:
        foot, distance, _ = trimesh.proximity.closest_point(meshes[0], places)
        rays = foot - places
        hits, index, _ = meshes[1].ray.intersects_location(places, rays, multiple_hits=True)
        before = np.linalg.norm(hits - places[index], axis=1) < distance[index]
        blocked = np.zeros(count, bool)
        blocked[index[before]] = True
        return ~blocked & (distance <= R_MAX_MM)

    def mostly(found: Any, theirs: np.ndarray) -> str:
        share = float((theirs == found.space[tuple(picked.T)]).mean())
        assert share >= LEAST_EQUAL, f"equal at {share:.1%}"
        return f"equal at {share:.1%} of {count} places"

    yield Row(
        f"`ray`, {spacing} mm, {np.count_nonzero(bones.in_cube):,} voxels",
        lambda: inflate(replace(bones), "ray", R_MAX_MM),
        (
            Peer(
                "trimesh, closest point and rays, counted up",
                by_rays,
                mostly,
                ("rtree",),
                share=count / len(candidates),
            ),
        ),
        turns=5,
    )

    # a finer mesh than the working voxels make
    fine = condyle_surface(bones_of(one.condyle, one.barrier, None, one.grid, step_mm=scale.of(0.18, 0.6)))
    vertices = len(fine.mesh.vertices)
    steps = R_MAX_MM / STEP_MM
    moved = inflate_mesh(replace(bones), R_MAX_MM, STEP_MM, fine)
    few = moved.mesh.vertices[:: max(1, vertices // scale.of(400, 60))]

    def by_distance() -> np.ndarray:
        return -trimesh.proximity.signed_distance(meshes[1], few)

    def distances_alike(_: Any, theirs: np.ndarray) -> str:
        own = sample(bones.barrier, bones.frame.to_index(few))
        off = np.abs(theirs - own)[np.abs(own) < 3]
        assert np.median(off) < spacing / 2, f"{np.median(off):.2f} mm"
        return f"distances differ by {np.median(off):.2f} mm (median near bone)"

    yield Row(
        f"`mesh`, {vertices:,} vertices, {steps:.0f} steps, volumes included",
        lambda: inflate_mesh(replace(bones), R_MAX_MM, STEP_MM, fine),
        (
            Peer(
                "trimesh, signed distance at every step, counted up",
                by_distance,
                distances_alike,
                ("rtree",),
                share=len(few) / vertices / steps,
            ),
        ),
        turns=3,
    )
