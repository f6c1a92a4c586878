"""Differences of arms: over subjects with seeds averaged, over seeds with subjects averaged."""

import numpy as np
import pytest
from benchmarks.paired_arms import difference, lines_of, subjects_by, values_of

EFFECT = {"s1": 1.0, "s2": 3.0, "s3": 2.0}
OF_SEED = {"0": -0.5, "1": 0.5}


@pytest.fixture
def study(tmp_path):
    """`b` is `a` and an effect of the subject and of the seed; `c` has one seed and lacks a subject."""
    lines = ["arm\tseed\tsubject\tscan\tmeasure\tstructure\tvalue"]
    for subject, effect in EFFECT.items():
        for seed, more in OF_SEED.items():
            for scan in ("x", "y"):  # two scans of a subject count once
                lines.append(f"a\t{seed}\t{subject}\t{scan}\tmae_hu\tbody\t10")
                lines.append(f"b\t{seed}\t{subject}\t{scan}\tmae_hu\tbody\t{10 + effect + more}")
        value = "" if subject == "s3" else "11"
        lines.append(f"c\t0\t{subject}\tx\tmae_hu\tbody\t{value}")
    (tmp_path / "measures.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_mean_and_both_intervals(study):
    mean, subjects, seeds, count = difference(values_of(study), "b", "a")
    assert mean == pytest.approx(2)
    assert count == 3
    assert 1 <= subjects[0] < 2 < subjects[1] <= 3
    half = 12.706204736 * np.std(list(OF_SEED.values()), ddof=1) / np.sqrt(2)  # Student's t, one degree of freedom
    assert seeds == pytest.approx((2 - half, 2 + half))


def test_an_arm_of_one_seed_has_no_interval_over_seeds_and_only_its_subjects_count(study):
    mean, _, seeds, count = difference(values_of(study), "c", "a")
    assert (mean, seeds, count) == (pytest.approx(1), None, 2)


def test_the_table_has_a_line_for_each_arm(study):
    lines = lines_of(values_of(study), "a", ["mae_hu:body"])
    assert [line.split("\t")[:4] for line in lines[1:]] == [
        ["mae_hu:body", "a", "10.0", ""],
        ["mae_hu:body", "b", "12.0", "+2.0"],
        ["mae_hu:body", "c", "11.0", "+1.0"],
    ]


def test_subjects_by_a_column_of_the_sheet(tmp_path):
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text("# of whom\nsubject\tscan\tcentre\ns1\ta\tB\ns2\tb\tA\ns1\tc\tB\n")
    assert subjects_by(sheet, "centre") == {"A": ["s2"], "B": ["s1"]}
    with pytest.raises(ValueError, match="no column site"):
        subjects_by(sheet, "site")
    sheet.write_text("subject\tscan\tcentre\ns1\ta\tB\ns1\tb\tA\n")
    with pytest.raises(ValueError, match="several values of centre: s1"):
        subjects_by(sheet, "centre")
