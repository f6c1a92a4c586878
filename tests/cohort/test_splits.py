from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volforge.cohort.splits import assign, rank, share_out
from volforge.errors import VolforgeError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
subjects = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=60)


@given(subjects, st.integers(0, 5), st.integers(1, 7))
def test_every_subject_has_one_split_and_one_fold(names, seed, folds):
    found = assign(names, seed=seed, folds=folds, shares=SHARES)
    assert set(found) == names
    assert {a.split for a in found.values()} <= set(SHARES)
    counts = Counter(a.fold for a in found.values())
    assert max(counts) < folds
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == min(folds, len(names))


@given(subjects, st.integers(0, 5))
def test_no_split_is_empty_where_subjects_suffice(names, seed):
    found = Counter(a.split for a in assign(names, seed=seed, folds=2, shares=SHARES).values())
    if len(names) >= 3:
        assert set(found) == set(SHARES)


@given(subjects)
def test_order_of_the_sheet_does_not_matter(names):
    ordered = sorted(names)
    one = assign(ordered, seed=1, folds=3, shares=SHARES)
    assert one == assign(reversed(ordered), seed=1, folds=3, shares=SHARES)


@given(subjects, st.text(min_size=1, max_size=8))
def test_ranking_keeps_the_order_of_the_others(names, newcomer):
    before = rank(names, 3)
    after = [s for s in rank(names | {newcomer}, 3) if s != newcomer or newcomer in names]
    assert [s for s in after if s in names] == before


def test_another_seed_deals_anew():
    names = [f"s{i}" for i in range(40)]
    one, two = (assign(names, seed=s, folds=5, shares=SHARES) for s in (0, 1))
    assert one != two


@given(subjects, st.data())
def test_the_sheet_overrides(names, data):
    chosen = data.draw(st.dictionaries(st.sampled_from(sorted(names)), st.sampled_from(["train", "test"])))
    found = assign(names, seed=0, folds=2, shares=SHARES, splits=chosen, fixed_folds=dict.fromkeys(chosen, 1))
    for subject, split in chosen.items():
        assert (found[subject].split, found[subject].fold) == (split, 1)


@given(st.integers(0, 200), st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_shares_add_up(count, weights):
    shares = {str(i): w / sum(weights) for i, w in enumerate(weights)}
    numbers = share_out(count, shares)
    assert sum(numbers.values()) == count
    assert min(numbers.values()) >= (1 if count >= len(weights) else 0)


@pytest.mark.parametrize("folds", [0, -1])
def test_no_fold_at_all_is_refused(folds):
    with pytest.raises(VolforgeError, match="1 puts every subject into fold 0"):
        assign(["a"], seed=0, folds=folds, shares={"train": 1.0})
