"""Which cases of an arm are shown: the worst, the median, the best, and some between."""

from __future__ import annotations

import numpy as np

from volforge.study.predictions import Prediction


def chosen_cases(scores: list[tuple[float, Prediction]], most: int) -> list[tuple[str, Prediction]]:
    """The worst, the best, the median and then evenly spread cases, with the word for each, worst first."""
    ranked = sorted((s for s in scores if s[1].file), key=lambda s: (-s[0], s[1].scan, s[1].sample))
    if not ranked or not most:
        return []
    count = min(most, len(ranked))
    places = sorted({round(i) for i in np.linspace(0, len(ranked) - 1, count)}) if count > 1 else [0]
    words = {(len(ranked) - 1) // 2: "median", len(ranked) - 1: "best", 0: "worst"}
    return [(words.get(i, ""), ranked[i][1]) for i in places]
