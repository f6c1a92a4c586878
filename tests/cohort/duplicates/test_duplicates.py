"""The same head is found whatever grid, pose, crop, threshold or defect; different heads are not."""

import nibabel as nib
import numpy as np
import pytest

from tests.cohort.duplicates.heads import skull
from tests.conftest import ball_ct, save, volforge
from volforge.cohort.duplicates.find import LOOK_MM, Entry, Shape, find_duplicates
from volforge.cohort.duplicates.radius_map import fingerprint
from volforge.cohort.duplicates.registration import verify
from volforge.cohort.sheet import SheetRow

IDENTITY = [(np.eye(3), np.zeros(3))]


@pytest.fixture(scope="module")
def first():
    return fingerprint(*skull(1))


@pytest.mark.parametrize(
    "change",
    [
        {"spacing": 1.6},
        {"turn_degrees": (12, 0, 0), "shift_mm": (30, -20, 15)},
        {"crop_mm": 25, "spacing": 1.7},
        {"grow_mm": 0.7},
        {"defect": True},
        {"defect": True, "crop_mm": 20, "turn_degrees": (5, 8, 10), "spacing": 1.8, "grow_mm": -0.4},
    ],
)
def test_a_head_is_known_again(first, change):
    match = verify(first, fingerprint(*skull(1, **change)), IDENTITY)
    assert match.residual_mm < LOOK_MM
    assert match.overlap > 0.6


def test_different_heads_are_apart(first):
    for seed in range(2, 8):
        match = verify(first, fingerprint(*skull(seed)), IDENTITY)
        assert match.residual_mm > LOOK_MM, seed


def test_storage_order_changes_nothing():
    mask, affine = skull(3)
    again, other = fingerprint(mask, affine), fingerprint(mask.copy(order="F"), affine)
    assert np.array_equal(again.radius, other.radius, equal_nan=True)


@pytest.mark.parametrize("mask", [np.zeros((50, 50, 50), np.uint8), np.ones((12, 12, 12), np.uint8)])
def test_what_is_no_head_is_refused(mask):
    with pytest.raises(ValueError, match="too little shape"):
        fingerprint(mask, np.diag([2.0, 2, 2, 1]))


def entry(cohort, subject, scan):
    return Entry(cohort, SheetRow(1, subject, scan, "mask"))


def test_pairs_of_one_subject_are_no_finding_and_the_nearest_come_first():
    copies = [
        ("a", "s1", skull(1)),
        ("a", "s1", skull(1, defect=True)),  # the same subject: two defects of one skull
        ("a", "s2", skull(2)),
        ("b", "x", skull(1, spacing=1.7, turn_degrees=(0, 0, 15))),
        ("b", "y", skull(5)),
    ]
    entries = [entry(c, s, f"{c}{n}") for n, (c, s, _) in enumerate(copies)]
    shapes = [Shape(maps={"bone": fingerprint(*head)}) for *_, head in copies]
    pairs = find_duplicates(entries, shapes)
    assert {frozenset((p.a.row.scan, p.b.row.scan)) for p in pairs} == {
        frozenset(("a0", "b3")),
        frozenset(("a1", "b3")),
    }
    assert pairs[0].residual_mm <= pairs[1].residual_mm
    assert all(p.residual_mm < LOOK_MM for p in pairs)


def test_equal_values_are_found_whatever_the_file_and_the_anatomy():
    entries = [entry("a", "s1", "a1"), entry("b", "s2", "b1"), entry("b", "s3", "b2")]
    pairs = find_duplicates(entries, [Shape("h"), Shape("h"), Shape("other")])
    assert [(p.a.name, p.b.name, p.verdict) for p in pairs] == [("a/a1", "b/b1", "same values")]


def test_command_over_two_sheets(tmp_path):
    """A complete skull in one cohort, its defective copy on another grid and axis order in the other."""
    for name, seed, change in (("one", 1, {}), ("two", 2, {}), ("copy", 1, {"defect": True, "spacing": 1.7})):
        mask, affine = skull(seed, **change)
        save(tmp_path / f"{name}.nii.gz", mask, affine)
    turned = nib.as_closest_canonical(nib.load(tmp_path / "copy.nii.gz")).as_reoriented(
        nib.orientations.axcodes2ornt(("P", "S", "L"))
    )
    nib.save(turned, tmp_path / "copy.nii.gz")
    save(tmp_path / "small.nii.gz", ball_ct())
    (tmp_path / "a.tsv").write_text(
        "subject\tscan\tmodality\timage\np1\tone\tmask\tone.nii.gz\np2\ttwo\tmask\ttwo.nii.gz\n"
    )
    (tmp_path / "b.tsv").write_text(
        "subject\tscan\tmodality\timage\tdefective\nq1\tcopy\tmask\t\tcopy.nii.gz\nq2\tsmall\tCT\tsmall.nii.gz\t\n"
    )
    done = volforge("cohort", "duplicates", "a.tsv", "b.tsv", "--out", "pairs.tsv", "--processes", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert ": a/one and b/copy (bone:" in done.stdout
    assert "1 pairs among 4 scans, 3 of them compared by shape" in done.stdout
    assert "compared by values only: b/small" in done.stderr
    table = (tmp_path / "pairs.tsv").read_text().splitlines()
    assert table[1].split("\t")[1:5] == ["bone", "a", "one", "p1"]
    alone = volforge("cohort", "duplicates", "a.tsv", "--processes", "1", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert "0 pairs among 2 scans" in alone.stdout


def test_command_over_the_cohorts_of_a_configuration(tmp_path):
    """Phantoms are left out: they are drawn, and need not be there."""
    for name in ("one", "two"):
        save(tmp_path / f"{name}.nii.gz", ball_ct())
    (tmp_path / "a.tsv").write_text(
        "subject\tscan\tmodality\timage\np1\tone\tCT\tone.nii.gz\np2\ttwo\tCT\ttwo.nii.gz\n"
    )
    (tmp_path / "b.tsv").write_text("subject\tscan\tmodality\timage\tcase\nq\tdrawn\tmask\tdrawn.nii.gz\tburr_box\n")
    (tmp_path / "c.yaml").write_text(
        "recipes: {whole: {kind: region, around: image}}\n"
        "cohorts:\n  real: {sheet: a.tsv, recipes: [whole]}\n"
        "  drawn: {sheet: b.tsv, recipes: [whole], phantom: {kind: skull}}\n"
    )
    done = volforge("cohort", "duplicates", "c.yaml", "--processes", "1", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "real/one and real/two" in done.stdout
    assert "1 pairs among 2 scans" in done.stdout
