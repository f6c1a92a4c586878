"""What synthetic images are good for: segmenters that learn from them, tested on real images of other subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from volforge.cohort.splits import rank
from volforge.judging.judge import UTILITY, Seen, View, dice_of
from volforge.metrics.measure import Measure, Status, nothing
from volforge.study.settings import ArmSettings


@dataclass(frozen=True)
class Shown:
    """A test case as segmenters see it.

    Attributes:
        subject, scan: Whose.
        made, real: Synthetic and real image with their label map; `made` is None where there is no image.
    """

    subject: str
    scan: str
    made: Seen | None
    real: Seen


def utility(settings: ArmSettings, cases: Sequence[Shown], seed: int) -> list[tuple[Shown, Measure]]:
    """Train on synthetic, test on real, crosswise: each half of the test subjects is read by a segmenter that learnt
    from the synthetic images of the other half. The arm `real` shows what real ones would have been good for.

    Args:
        settings: The arm.
        cases: One per test scan.
        seed: Of the segmenters.

    Returns:
        `utility_dice` of every structure and case; `absent` where the label map has none of it.
    """
    from volforge.judging.judging_segmenter import read_slices, train_judging_segmenter

    view = View.of(settings)
    ranked = rank({c.subject for c in cases}, 0, "utility")
    found: list[tuple[Shown, Measure]] = []
    for half in (0, 1):
        tested = set(ranked[half::2])
        learnt = [c.made for c in cases if c.subject not in tested and c.made is not None]
        rest = [c for c in cases if c.subject in tested]
        images, labels = ([s for seen in learnt for s in getattr(seen, part)] for part in ("images", "labels"))
        if not images:  # no other subject at all is no fault of the arm
            why: Status = "missing_prediction" if any(c.subject not in tested for c in cases) else "undefined"
            found += [(c, nothing(UTILITY, why, k)) for c in rest for k in view.ids]
            continue
        steps = settings.metrics["segmenter_steps"]
        network, _ = train_judging_segmenter(images, labels, view.classes, steps, seed)
        for case in rest:
            by_structure = dice_of(view, read_slices(network, case.real.images), case.real.labels)
            for key, value in by_structure.items():
                is_absent = math.isnan(value)
                measure = nothing(UTILITY, "absent", key) if is_absent else Measure(UTILITY, value, key, "ok", 1)
                found.append((case, measure))
    return found
