"""The fit of a kriged model: template, mean surfaces, region, covariance, from complete skulls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.kriging import likelihood
from volforge.tasks.implant.kriging.casting import cast
from volforge.tasks.implant.kriging.covariance import Covariance
from volforge.tasks.implant.kriging.disc import Disc, mirrored
from volforge.tasks.implant.kriging.fill import filled
from volforge.tasks.implant.kriging.intervals import Intervals
from volforge.tasks.implant.kriging.pose import Pose, Template, even_directions
from volforge.tasks.implant.kriging.settings import KrigingSettings, Region
from volforge.tasks.implant.kriging.solve import Field
from volforge.tasks.implant.kriging.template import Points, points_of, template_of
from volforge.volume.geometry import Array

LEAST_SKULLS = 3
SAME_HEAD_MM = 0.5
LEAST_RAYS = 0.5  # of the directions above the ears: complete skulls meet nine tenths and more


@dataclass(frozen=True)
class KrigedModel:
    """A fitted model.

    Attributes:
        template: What skulls are laid onto.
        field: Mean, region and covariance.
        settings: What it was fitted by.
        plain: The covariance without a symmetric part, where each skull decides between the two.
        intervals: Of its errors, learnt from holes that were closed; None: as of a normal distribution.
    """

    template: Template
    field: Field
    settings: KrigingSettings
    plain: Covariance | None = None
    intervals: Intervals | None = None


@dataclass(frozen=True)
class Fitted:
    """A model and what it was made of.

    Attributes:
        model: The model.
        maps: (n, 2, N, N) surfaces of the skulls in their poses, NaN where there is no bone; one of each head.
        used: Numbers of the skulls that were kept.
        poses: Pose of each skull that was kept.
        same: Pairs of skulls that are one head: the second of each was left out.
    """

    model: KrigedModel
    maps: Array
    used: tuple[int, ...]
    poses: tuple[Pose, ...]
    same: tuple[tuple[int, int], ...]


def fit(
    count: int,
    skull: Callable[[int], tuple[Array, Array]],
    settings: KrigingSettings | None = None,
    names: Sequence[str] = (),
) -> Fitted:
    """Fit a model to complete skulls.

    Args:
        count: Number of skulls.
        skull: Reads one of them: (X, Y, Z) with 1 for bone, and its affine. Each is read twice; none is kept.
        settings: Of the model.
        names: Of the skulls, for messages.

    Raises:
        VolforgeError: Too few skulls; some that are none; or no region in which their surfaces agree.
    """
    settings = settings or KrigingSettings()
    if count < LEAST_SKULLS:
        raise VolforgeError(f"{count} complete skulls", "kriging", f"at least {LEAST_SKULLS} are needed for a mean")
    points: list[Points] = [points_of(*skull(n)) for n in range(count)]
    _refuse_fragments(points, names)
    template, poses = template_of(points, settings.disc)
    maps = np.stack([surfaces_of(*skull(n), poses[n], settings.disc) for n in range(count)])
    used, same = one_of_each_head(maps, settings)
    maps = maps[list(used)]
    model = model_of(maps, template, settings)
    return Fitted(model, maps, used, tuple(poses[n] for n in used), same)


def _refuse_fragments(points: Sequence[Points], names: Sequence[str]) -> None:
    """Refuse what is no complete skull: one of them would bend template, region and covariance of all.

    Raises:
        VolforgeError: naming them, each with the share of rays from its middle that meet bone.
    """
    rays = len(even_directions())
    shares = [min(len(s) for s in p.surfaces) / rays for p in points]
    odd = [f"{names[n] if names else f'skull {n}'} ({100 * v:.0f} %)" for n, v in enumerate(shares) if v < LEAST_RAYS]
    if odd:
        text = f"no complete skull, by the directions from its middle that meet bone: {', '.join(odd)}"
        remedy = f"leave it out, or look at threshold and orientation; {100 * LEAST_RAYS:.0f} % are needed"
        raise VolforgeError(text, "kriging", remedy)


def surfaces_of(skull: Array, affine: Array, pose: Pose, disc: Disc) -> Array:
    """(2, N, N) radii of a skull in a pose; NaN where there is no bone, and beyond the disc."""
    radii = cast(skull, affine, pose, disc.directions).radii
    radii[:, ~disc.inside] = np.nan
    return radii


def one_of_each_head(maps: Array, settings: KrigingSettings) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Skulls that are kept, and pairs that are one head: median distance of their surfaces under 0.5 mm (RMS).

    Args:
        maps: (n, 2, N, N).
        settings: Colatitude of the region.
    """
    looked = settings.disc.inside & (settings.disc.colatitudes < min(90.0, settings.region.colatitude_deg))
    used: list[int] = []
    same: list[tuple[int, int]] = []
    for number, own in enumerate(maps):
        twin = next((k for k in used if _distance(maps[k][:, looked], own[:, looked]) < SAME_HEAD_MM), None)
        if twin is None:
            used.append(number)
        else:
            same.append((twin, number))
    return tuple(used), tuple(same)


def _distance(first: Array, second: Array) -> float:
    """Root mean square difference of the nearest nine tenths: two scans of a head differ where one has a hole."""
    off = np.abs(first - second)
    off = np.sort(off[np.isfinite(off)])
    kept = off[: max(1, int(0.9 * len(off)))]
    return float(np.sqrt(np.mean(kept**2))) if len(off) else float("inf")


def region_of(maps: Array, settings: KrigingSettings, limits: Region | None = None) -> Array:
    """(N, N) where nearly all skulls have bone and agree well enough; symmetric, in one piece.

    Args:
        maps: (n, 2, N, N) surfaces; NaN where there is no bone.
        settings: The disc.
        limits: How far; None: the settings' region.

    Raises:
        VolforgeError: Nowhere.
    """
    import cc3d

    n, limits = len(maps), limits or settings.region
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any bone: outside of the region below
        spread = np.nan_to_num(np.nanstd(maps, axis=0).max(axis=0), nan=np.inf)
    there = np.isfinite(maps).all(axis=1).sum(axis=0) >= n - max(1, n // 16)
    disc = settings.disc
    good = disc.inside & there & (spread < limits.spread_mm)
    good &= mirrored(good) & (disc.colatitudes < limits.colatitude_deg)
    labels = cc3d.connected_components(good.astype(np.uint8)[..., None], connectivity=6)[..., 0]
    sizes = np.bincount(labels.ravel())[1:]
    if not len(sizes):
        raise VolforgeError(
            "the surfaces of the skulls agree nowhere", "kriging", "are these complete skulls, upright, in mm?"
        )
    region = labels == 1 + int(np.argmax(sizes))
    return np.asarray(region & mirrored(region))


def model_of(maps: Array, template: Template, settings: KrigingSettings) -> KrigedModel:
    """Mean, region and covariance of surfaces in their poses.

    Args:
        maps: (n, 2, N, N); NaN where there is no bone.
        template: They were laid onto.
        settings: Of the model.
    """
    region, vault = region_of(maps, settings), region_of(maps, settings, settings.vault)
    whole = np.stack([[filled(m) for m in skull] for skull in maps])
    both = np.concatenate([whole, mirrored(whole)])
    mean = both.mean(axis=0)
    points = settings.disc.directions * mean[1][..., None]

    def covariance(symmetric: bool) -> Covariance:
        found = likelihood.fitted(
            whole - mean, points, vault & region, symmetric=symmetric, lengths=settings.lengths_mm
        )
        return replace(found, offset_mm=settings.offset_mm)

    plain = covariance(False) if settings.evidence and settings.symmetric else None
    return KrigedModel(template, Field(settings.disc, mean, region, covariance(settings.symmetric)), settings, plain)


def with_gain(model: KrigedModel, gain: tuple[float, float]) -> KrigedModel:
    """The model with other variances; its means stay nearly the same."""
    found: Covariance = replace(model.field.covariance, gain=gain)
    plain = None if model.plain is None else replace(model.plain, gain=gain)
    return replace(model, field=replace(model.field, covariance=found), plain=plain)


def without(maps: Array, number: int, model: KrigedModel) -> Field:
    """The field of all skulls but one: same region and covariance, the mean of the others.

    Args:
        maps: (n, 2, N, N) of all skulls.
        number: The one that is left out.
        model: Of all.
    """
    others = np.delete(maps, number, axis=0)
    whole = np.stack([[filled(m) for m in skull] for skull in others])
    mean = np.concatenate([whole, mirrored(whole)]).mean(axis=0)
    return replace(model.field, mean=mean)
