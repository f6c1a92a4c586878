"""Predictors of CTs that look at the outline of the source alone, and the true CT cut to it."""

from __future__ import annotations

from collections.abc import Iterator

from volforge.baselines.images import target_names
from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, Row
from volforge.study.predictor import Predictor
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array, flat_axis


def constant_median(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The median of training CTs in the whole body."""
    from volforge.baselines.depth import median_of
    from volforge.baselines.image import constant

    value = median_of((image, body) for _, image, body in _training(settings, cohort, rows))

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return constant(_outline(cohort, case), value), None

    return predictor


def depth_profile(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The median HU of training CTs by the distance from the outline.

    Depth is counted in the plane of scans of one slice and of voxels of more than 3 to 1; each way of counting has a
    profile of its own, learnt when the first case asks for it, from the training CTs that can show it.
    """
    from volforge.baselines import depth

    profiles: dict[int | None, tuple[Array, Array]] = {}

    def learn(across: int | None) -> tuple[Array, Array]:
        fitting = (t for t in _training(settings, cohort, rows) if flat_axis(t[1].shape) in (None, across))
        every = ((image, body, cohort.grid(n).spacing_mm) for n, image, body in fitting)
        return depth.depth_profile(every, across)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        grid = cohort.grid(case.scan)
        across = depth.plane_of(grid.shape, grid.spacing_mm)
        if across not in profiles:
            profiles[across] = learn(across)
        return depth.by_depth(_outline(cohort, case), grid.spacing_mm, profiles[across], across), None

    return predictor


def mean_subject(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The mean of training CTs, each scaled into one box, stretched into the box of the outline.

    Scans of one slice have the mean of training CTs of one slice along the same axis, others that of volumes.
    """
    from volforge.baselines import depth

    means: dict[int | None, Array] = {}

    def predictor(case: Case) -> tuple[Array, Array | None]:
        flat = flat_axis(cohort.grid(case.scan).shape)
        if flat not in means:
            fitting = (t for t in _training(settings, cohort, rows) if flat_axis(t[1].shape) == flat)
            means[flat] = depth.mean_subject(((image, body) for _, image, body in fitting), flat)
        return depth.in_box(means[flat], _outline(cohort, case)), None

    return predictor


def outline_ceiling(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The true CT of the case on the source's grid, cut to the source's outline: what no arm can pass whose outline is
    the source's, interpolation included."""
    from volforge.baselines.depth import cut_to
    from volforge.volume.intensity import AIR_HU
    from volforge.volume.resample import resample_to

    def predictor(case: Case) -> tuple[Array, Array | None]:
        if case.reference == case.scan:
            raise VolforgeError("the case has no true image beside its source", case.scan, "translate pairs")
        own, onto = cohort.grid(case.reference), cohort.grid(case.scan)
        image = resample_to(cohort.read(case.reference, "image"), own, onto, nearest=False, outside=float(AIR_HU))
        return cut_to(image, _outline(cohort, case)), None

    return predictor


def _outline(cohort: Cohort, case: Case) -> Array:
    return cohort.body(case.scan, cohort.grid(case.scan).shape)


def _training(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Iterator[tuple[str, Array, Array]]:
    """Name, image and own body of every training CT: never a mask that came with a pair."""
    for name in target_names(settings, cohort, rows):
        image = cohort.read(name, "image")
        yield name, image, cohort.own_body(name, image)
