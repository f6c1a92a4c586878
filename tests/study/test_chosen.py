"""The cases that a page shows of an arm."""

from hypothesis import given
from hypothesis import strategies as st

from volforge.study.chosen import chosen_cases
from volforge.study.predictions import Prediction


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 12))
def test_worst_median_and_best_are_always_among_them(scores, most):
    found = chosen_cases([(s, Prediction(f"s{i}", f"p{i}", f"s{i}", "", file="f")) for i, s in enumerate(scores)], most)
    assert len(found) == min(most, len(scores))
    words = [w for w, _ in found if w]
    wanted = ["worst", "best", "median"][:most]
    if len(scores) > 2:
        assert sorted(words) == sorted(wanted)
    assert len({p.scan for _, p in found}) == len(found)
    by_scan = {f"s{i}": s for i, s in enumerate(scores)}
    shown = [by_scan[p.scan] for _, p in found]
    assert shown == sorted(shown, reverse=True), "the greatest score is the worst"
