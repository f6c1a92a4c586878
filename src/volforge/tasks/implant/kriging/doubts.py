"""Cases whose implant should be doubted: signs that a case shows, and the limits that a model learnt for them.

A limit is set at the fit (`alarms.py`), on skulls that are known to be fine: at most a tenth of them would raise any
doubt at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.case import Kriged

FILE = "doubts.tsv"
SIGNS = {
    "cost": (
        "misfit",
        "The skull fits the model worse than nine of ten that the model learnt from "
        "(cost {value:.3f}, limit {limit:.3f}): its pose may be wrong.",
    ),
    "residual_mm": (
        "far_from_template",
        "The skull's surfaces lie {value:.2f} mm from the model's in the median (limit {limit:.2f}): "
        "it is of an unusual shape, or its pose is wrong.",
    ),
    "rim_mm": (
        "rim_unlike",
        "The bone beside the hole, which is known, is predicted worse than in nine of ten skulls that the model learnt "
        "from ({value:.3f} mm, limit {limit:.3f}): the implant may not meet its rim.",
    ),
    "deviation_mm": (
        "unsure",
        "The model is unsure of the surfaces in the hole by {value:.2f} mm in the mean (limit {limit:.2f}): "
        "the hole is large, or little bone about it is in view.",
    ),
}
"""By sign: the code of its doubt, and the sentence."""


@dataclass(frozen=True)
class Doubt:
    """Why an implant should be looked at twice.

    Attributes:
        code: One word.
        text: A sentence.
    """

    code: str
    text: str


def signs_of(found: Kriged) -> dict[str, float]:
    """What a case shows; NaN where it shows nothing.

    Returns:
        `cost` and `residual_mm` of the pose; `rim_mm`: how well the bone beside the holes is predicted; `deviation_mm`:
        mean standard deviation of both surfaces in the holes.
    """
    signs = {"cost": found.registered.cost, "residual_mm": found.registered.residual_mm}
    if found.maps is None:
        return {**signs, "rim_mm": math.nan, "deviation_mm": math.nan}
    pixels = found.maps.distance == 0
    spread = found.maps.deviation[:, pixels]
    spread = spread[np.isfinite(spread)]
    return {**signs, "rim_mm": found.maps.rim_mm, "deviation_mm": float(spread.mean()) if len(spread) else math.nan}


def doubts_of(found: Kriged, limits: Mapping[str, float]) -> list[Doubt]:
    """All doubts about a case.

    Args:
        found: The case.
        limits: By sign, of the model (`thresholds` of model.json); a sign without one is not judged.
    """
    doubts = []
    signs = signs_of(found)
    for sign, (code, text) in SIGNS.items():
        limit = limits.get(sign)
        if limit is not None and math.isfinite(signs[sign]) and signs[sign] > limit:
            doubts.append(Doubt(code, text.format(value=signs[sign], limit=limit)))
    if found.maps is not None and math.isnan(found.maps.rim_mm):
        doubts.append(Doubt("no_rim", "No bone beside the hole could be compared with what the model predicts there."))
    if any(h.at_edge and not h.left_open for h in found.holes):
        text = "The hole reaches the end of the region that the model knows: the implant is not complete there."
        doubts.append(Doubt("hole_at_edge", text))
    if any(h.out_of_view and not h.left_open for h in found.holes):
        text = "The scan ends within the hole: what lies beyond was not seen, and the implant is a guess there."
        doubts.append(Doubt("hole_out_of_view", text))
    if any(h.left_open for h in found.holes):
        text = "Bone is missing where the scan ends. This may be no hole at all; it was left open."
        doubts.append(Doubt("end_of_scan", text))
    return doubts


def limits_of(cases: Sequence[Mapping[str, float]], share: float = 0.1) -> dict[str, float]:
    """Limits such that at most a share of cases that are fine exceeds any of them.

    Cases are ordered by their worst rank among all signs; the most extreme share of them may exceed, all others may
    not: each limit is the greatest value of those. With few cases that greatest value is itself too low for the next
    skull, so that a normal tail of the logarithm, the share divided among the signs, takes its place where it is more.

    Args:
        cases: Signs of cases that are fine.
        share: Of false alarms.

    Returns:
        By sign; none for signs with fewer than three values.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    names = [s for s in SIGNS if sum(math.isfinite(c[s]) for c in cases) >= 3]
    if not names:
        return {}
    values = np.array([[c[s] for s in names] for c in cases])
    ranks = np.stack([rankdata(np.nan_to_num(v, nan=-np.inf), method="max") for v in values.T])
    worst = ranks.max(axis=0)
    kept = np.argsort(worst, kind="stable")[: len(cases) - int(share * len(cases))]
    tail = float(ndtri((1 - share) ** (1 / len(names))))
    limits = {}
    for name, column in zip(names, values.T, strict=True):
        logs = np.log(np.maximum(column[np.isfinite(column)], 1e-6))
        normal = float(np.exp(logs.mean() + tail * logs.std(ddof=1)))
        limits[name] = math.ceil(1e6 * max(float(np.nanmax(column[kept])), normal)) / 1e6  # never below a value
    return limits


NOT_COMPLETED = {"holes": "", **dict.fromkeys(SIGNS, ""), "doubts": "not_completed"}
"""The row of a skull that the model could do nothing with."""


def row_of(found: Kriged, limits: Mapping[str, float]) -> dict[str, str]:
    """Signs and doubts of a case as cells of a table."""
    signs = {s: "" if math.isnan(v) else f"{v:.4f}" for s, v in signs_of(found).items()}
    holes = f"{len(found.holes)}"
    return {"holes": holes, **signs, "doubts": ",".join(d.code for d in doubts_of(found, limits))}


def table_of(rows: Mapping[str, Mapping[str, str]]) -> str:
    """The text of `doubts.tsv` from rows by scan."""
    columns = ("holes", *SIGNS, "doubts")
    lines = ["\t".join(("scan", *columns))]
    lines += ["\t".join((scan, *(row[c] for c in columns))) for scan, row in rows.items()]
    return "\n".join(lines) + "\n"
