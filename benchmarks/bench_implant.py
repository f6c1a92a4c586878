"""The implant of a defective skull by kriging, and its two costly parts against scipy.

The whole needs a model of skulls, fitted to drawn ones first. Rays through the skull are compared with interpolation
by `map_coordinates` along the same rays, the surfaces of the hole with the textbook formula by a general solver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from tests.tasks.implant.kriging.shells import cap, centres
from tests.tasks.implant.kriging.test_case import shell

from benchmarks.rows import Peer, Row, Scale


def rows(scale: Scale) -> Iterator[Row]:
    from volforge.tasks.implant.kriging.case import krige
    from volforge.tasks.implant.kriging.casting import Casting, cast
    from volforge.tasks.implant.kriging.fit import fit
    from volforge.tasks.implant.kriging.holes import holes_of
    from volforge.tasks.implant.kriging.imputed import closed_pose, observed
    from volforge.tasks.implant.kriging.settings import KrigingSettings
    from volforge.tasks.implant.kriging.solve import Thinning, chosen, solve

    spacing = scale.of(1.5, 4.0)
    settings = KrigingSettings.of({"disc": {"pixel_mm": scale.of(2.0, 6.0)}, "calibrated": False})
    model = fit(scale.of(8, 4), lambda n: shell(n, spacing), settings).model
    whole, affine = shell(20, spacing)
    points = centres(whole.shape, affine)
    implant = cap(points, (0.3, -0.6, 0.7), 18) & (whole > 0) & (points[..., 2] > 0)
    skull = np.ascontiguousarray((whole * ~implant).astype(np.uint8))
    size = "x".join(map(str, skull.shape))
    yield Row(
        f"a case: pose, hole, both surfaces with their deviations, implant, {size}",
        lambda: krige(model, skull, affine),
        why="no other package does it; the figures of real skulls are in [implants.md](implants.md)",
        turns=5,
    )

    pose = closed_pose(skull, affine, model.template, model.field).pose
    directions = model.field.disc.directions[model.field.region]
    how = Casting()

    def by_interpolation() -> np.ndarray:
        """The first place of each ray where bone begins."""
        from scipy.ndimage import map_coordinates

        inverse = np.linalg.inv(affine[:3, :3])
        origin = inverse @ (pose.centre - affine[:3, 3])
        steps = (directions @ pose.rotation.T) @ inverse.T
        radii = np.arange(how.first_mm, how.last_mm, how.step_mm)
        found = np.full(len(steps), np.nan)
        for part in range(0, len(steps), 4000):  # 4000 rays of 367 places: 35 MB
            at = origin + steps[part : part + 4000, None] * radii[None, :, None]
            values = map_coordinates(skull, at.reshape(-1, 3).T, np.float64, order=1).reshape(at.shape[:2])
            begins = (values[:, 1:] >= 0.5) & (values[:, :-1] < 0.5)
            first = begins.argmax(axis=1)
            rays = np.arange(len(first))
            low, high = values[rays, first], values[rays, first + 1]
            with np.errstate(divide="ignore", invalid="ignore"):
                crossing = radii[first + 1] - how.step_mm * (high - 0.5) / (high - low)
            found[part : part + 4000] = np.where(begins.any(axis=1), crossing, np.nan)
        return found / pose.scale

    def crossings_alike(ours: Any, theirs: np.ndarray) -> str:
        both = np.isfinite(ours.radii[0]) & np.isfinite(theirs)
        off = np.abs(ours.radii[0] - theirs)[both]
        share = float((off < 1e-6).mean())
        assert both.mean() > 0.5, f"{both.mean():.1%} of the rays meet bone"
        assert share > 0.99, f"{share:.1%} of {both.sum()} rays equal"
        return f"inner surface equal in {share:.1%} of rays (runs of bone under {how.least_mm} mm are noise to ours)"

    yield Row(
        f"{len(directions):,} rays through the skull, inner and outer surface",
        lambda: cast(skull, affine, pose, directions),
        (Peer("scipy's map_coordinates along the same rays, inner surface alone", by_interpolation, crossings_alike),),
        turns=5,
    )

    surfaces = observed(skull, affine, pose, model.field)
    holes = holes_of(model.field, surfaces.radii, surfaces.left)
    pixels = np.logical_or.reduce([h.pixels for h in holes])
    trusted = np.isfinite(surfaces.radii) & ~pixels & model.field.region
    thinning = Thinning()
    kept = chosen(model.field, trusted, pixels & model.field.region, thinning)

    def by_general_solver() -> np.ndarray:
        from scipy.linalg import solve as general

        field = model.field
        seen, asked = field.places(kept), np.stack([pixels & field.region] * 2)
        covariance = field.covariance.between(seen, seen)
        covariance[np.diag_indices_from(covariance)] += field.covariance.nugget_mm**2
        targets = field.places(asked)
        across = field.covariance.between(targets, seen)
        weights = general(covariance, across.T)  # with the weights of every place, as textbooks have it
        return field.mean[asked] + weights.T @ (surfaces.radii - field.mean)[kept]

    def surfaces_alike(ours: Any, theirs: np.ndarray) -> str:
        off = np.abs(ours.mean[np.isfinite(ours.mean)] - theirs).max()
        assert off < 1e-3, f"{off:.2g} mm"
        return f"within {off:.0e} mm"

    yield Row(
        f"surfaces of the hole from {int(kept.sum()):,} observations",
        lambda: solve(model.field, surfaces.radii, trusted, pixels, thinning),
        (Peer("scipy.linalg.solve, weights of every place", by_general_solver, surfaces_alike),),
        turns=5,
    )
