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
    last, middle = len(ranked) - 1, (len(ranked) - 1) // 2
    words = {middle: "median", last: "best", 0: "worst"}
    between = [round(i) for i in np.linspace(0, last, count)]
    places = sorted(list(dict.fromkeys([0, last, middle, *between, *range(len(ranked))]))[:count])
    return [(words.get(i, ""), ranked[i][1]) for i in places]
