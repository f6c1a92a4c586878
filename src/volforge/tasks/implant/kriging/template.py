"""The symmetric template that skulls are laid onto, from complete skulls, and their poses in it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.casting import cast
from volforge.tasks.implant.kriging.disc import Disc, mirrored
from volforge.tasks.implant.kriging.fill import filled
from volforge.tasks.implant.kriging.pose import (
    STARTS,
    Pose,
    Registered,
    Template,
    even_directions,
    first_guess,
    register,
)
from volforge.volume.geometry import Array

ROUNDS = 4
FEW = 500
SMOOTH_PIXELS = 1.5
TRUSTED_DEG = 108.0


@dataclass(frozen=True)
class Points:
    """What a skull looks like from about its middle: few points of its two surfaces.

    Attributes:
        surfaces: Inner and outer, (n, 3) each, patient coordinates.
        few: The same of a fifth of the rays, to tell starts apart.
        start: Where rays started.
    """

    surfaces: tuple[Array, Array]
    few: tuple[Array, Array]
    start: Pose


def points_of(skull: Array, affine: Array, about: Pose | None = None) -> Points:
    """Points of the two surfaces of a skull, along even rays.

    Args:
        skull: (X, Y, Z), 1 is bone.
        affine: (4, 4) voxel to patient, mm, RAS.
        about: Where the rays start; None: the first guess.
    """
    pose = about or first_guess(skull, affine)
    every = _along(skull, affine, pose, even_directions())
    return Points(every, _along(skull, affine, pose, even_directions(FEW)), pose)


def _along(skull: Array, affine: Array, pose: Pose, directions: Array) -> tuple[Array, Array]:
    about = Pose(pose.rotation, pose.centre)
    radii = cast(skull, affine, about, directions).radii
    inner, outer = (about.out_of((r[:, None] * directions)[np.isfinite(r)]) for r in radii)
    return inner, outer


def pose_of(skull: Array, affine: Array, template: Template) -> Registered:
    """The pose of a skull, which may have holes: registered, rays cast anew from there, registered again.

    The second time matters where the first guess was far off: rays then start where the template's do.
    """
    first = points_of(skull, affine)
    rough = register(first.surfaces, template, first.start, STARTS, first.few)
    again = points_of(skull, affine, rough.pose)
    return register(again.surfaces, template, rough.pose)


def template_of(every: Sequence[Points], disc: Disc) -> tuple[Template, list[Pose]]:
    """The template of skulls, and the pose of each of them in it.

    The first skull is the first template; then, in turns, all are registered and their median, with that of their
    mirror images, becomes the next one. Its scale is kept at the mean of theirs.

    Args:
        every: Points of complete skulls, at least one.
        disc: Directions.
    """
    trusted = disc.inside & (disc.colatitudes < TRUSTED_DEG)
    poses = [p.start for p in every]
    maps = _median([_as_map(every[0], poses[0], disc)])
    for turn in range(ROUNDS):
        template = Template(disc, maps, trusted)
        starts = STARTS if turn == 0 else ()
        poses = [register(p.surfaces, template, q, starts, p.few).pose for p, q in zip(every, poses, strict=True)]
        mean = float(np.exp(np.mean([np.log(p.scale) for p in poses])))
        poses = [Pose(p.rotation, p.centre, p.scale / mean) for p in poses]
        maps = _median([_as_map(p, pose, disc) for p, pose in zip(every, poses, strict=True)])
    return Template(disc, maps, trusted), poses


def _as_map(points: Points, pose: Pose, disc: Disc) -> Array:
    """(2, N, N) radii at the pixels that points fall into, else NaN."""
    found = np.full((2, *disc.shape), np.nan)
    for surface, own in enumerate(points.surfaces):
        radius, at = disc.locate(pose.into(own))
        pixels = np.rint(at).astype(int)
        held = (pixels >= 0).all(axis=0) & (pixels < disc.shape[0]).all(axis=0)
        found[surface, pixels[0, held], pixels[1, held]] = radius[held]
    return found


def _median(maps: Sequence[Array]) -> Array:
    """(2, N, N) smooth symmetric median of maps and their mirror images, everywhere finite."""
    from scipy.ndimage import gaussian_filter

    both = np.concatenate([np.stack(maps), mirrored(np.stack(maps))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no point fell into: filled below
        middle = np.nanmedian(both, axis=0)
    smooth = np.stack([gaussian_filter(filled(m), SMOOTH_PIXELS) for m in middle])
    return (smooth + mirrored(smooth)) / 2
