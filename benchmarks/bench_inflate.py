"""Inflation of one joint on one core against the same operations by trimesh, in one run, checked for equal results.

The peer is measured on a part and counted up: all of it would take minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.shape.joints import joint

from volforge.shape.bones import Bones, bones_of
from volforge.shape.field import sample
from volforge.shape.inflate import inflate
from volforge.shape.inflate_mesh import condyle_surface, inflate_mesh
from volforge.shape.joint import barrier_surface

R_MAX_MM, STEP_MM = 14.0, 0.2
PLACES, VERTICES = 1500, 400


def best(function, rounds: int = 5) -> tuple[float, object]:
    """Least of some times, and the result; the first round, which compiles, does not count."""
    function()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = function()
        times.append(time.perf_counter() - began)
    return min(times), found


def fresh(bones: Bones) -> Bones:
    """The same joint without what it remembers."""
    return replace(bones)


def main() -> None:
    import trimesh

    one = joint((0.4, 0.4, 0.4))
    bones = bones_of(one.condyle, one.barrier, None, one.grid, step_mm=0.4)
    ours, found = best(lambda: inflate(fresh(bones), "ray", R_MAX_MM))
    print(f"ray, 0.4 mm, {np.count_nonzero(bones.in_cube)} voxels: {ours:.3f} s")

    condyle = condyle_surface(bones).mesh
    barrier = barrier_surface(bones).mesh
    meshes = [trimesh.Trimesh(m.vertices, m.faces, process=False) for m in (condyle, barrier)]
    free = bones.in_cube & ~bones.condyle_mask & ~bones.barrier_mask
    candidates = np.argwhere(free)
    chosen = candidates[np.random.default_rng(0).choice(len(candidates), PLACES, replace=False)]
    places = bones.frame.to_mm(chosen)
    began = time.perf_counter()
    foot, distance, _ = trimesh.proximity.closest_point(meshes[0], places)
    rays = foot - places
    hits, index, _ = meshes[1].ray.intersects_location(places, rays, multiple_hits=True)
    before = np.linalg.norm(hits - places[index], axis=1) < distance[index]
    blocked = np.zeros(PLACES, bool)
    blocked[index[before]] = True
    peer = (time.perf_counter() - began) * len(candidates) / PLACES
    theirs = ~blocked & (distance <= R_MAX_MM)
    same = (theirs == found.space[tuple(chosen.T)]).mean()
    print(f"  trimesh closest point and ray casting: {peer:.1f} s, {peer / ours:.0f} times ours; equal at {same:.1%}")

    # a finer mesh than the working voxels make
    fine = condyle_surface(bones_of(one.condyle, one.barrier, None, one.grid, step_mm=0.18))
    count = len(fine.mesh.vertices)
    ours, moved = best(lambda: inflate_mesh(fresh(bones), R_MAX_MM, STEP_MM, fine), rounds=3)
    print(f"mesh, {count} vertices, {R_MAX_MM / STEP_MM:.0f} steps, volumes included: {ours:.2f} s")
    target = meshes[1]
    few = moved.mesh.vertices[:: max(1, count // VERTICES)]
    began = time.perf_counter()
    theirs = -trimesh.proximity.signed_distance(target, few)
    peer = (time.perf_counter() - began) / len(few) * count * R_MAX_MM / STEP_MM
    own = sample(bones.barrier, bones.frame.to_index(few))
    near = np.abs(own) < 3
    off = np.abs(theirs - own)[near]
    print(
        f"  trimesh signed distance at every step: {peer:.0f} s, {peer / ours:.0f} times ours; "
        f"distances differ by {np.median(off):.2f} mm (median near bone)"
    )


if __name__ == "__main__":
    main()
