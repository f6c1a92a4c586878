"""All published numbers are there as data, each with its source, and a damaged table says where."""

import csv

import pytest

from tests.conftest import ROOT
from volforge.errors import VolforgeError
from volforge.metrics.measure import unit_of
from volforge.report.published import COLUMNS, read_published

FILES = sorted((ROOT / "config/papers/published").glob("*.tsv"))
# spot checks against the methods' pages: file, arm, structure, measure, cohort begins with, value
KNOWN = [
    ("negative_volume", "vnet_dice_ce", "condyle", "dice", "private", 0.914),
    ("negative_volume", "vnet_dice", "temporal_bone", "dice", "private", 0.767),
    ("negative_volume", "vnet_dice_ce", "temporal_bone", "legacy_hd_voxels", "private", 27.6),
    ("implant", "pcdiff_n5", "implant", "hd95_pooled_mm", "SkullFix", 1.69),
    ("implant", "unet3d_mwod", "implant", "boundary_dice_10mm", "SkullBreak", 0.91),
]


def test_four_systems_have_their_numbers():
    assert [p.stem for p in FILES] == ["implant", "negative_volume", "semantic_synthesis", "translation"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_number_has_source_and_place(path):
    table = read_published(path)
    assert len(table.numbers) > 40
    assert table.notes, "what could not be obtained is said at the head"
    for p in table.numbers:
        assert p.source, p
        assert p.cohort, p
        assert p.table, p
        assert p.unit, p
        if p.measure.startswith(("dice", "iou", "boundary_dice", "nsd")):
            assert 0 <= p.value <= 1, p
        if unit_of(p.measure) in ("mm", "HU", "dB"):
            assert p.unit == unit_of(p.measure), p
    keys = [(p.study, p.arm, p.structure, p.measure, p.cohort, p.table) for p in table.numbers]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("file", "arm", "structure", "measure", "cohort", "value"), KNOWN)
def test_numbers_are_those_of_the_papers(file, arm, structure, measure, cohort, value):
    found = [
        p.value
        for p in read_published(ROOT / f"config/papers/published/{file}.tsv").numbers
        if (p.arm, p.structure, p.measure) == (arm, structure, measure) and p.cohort.startswith(cohort)
    ]
    assert found == [value]


def test_the_jaw_joint_table_is_whole():
    """Three structures, three scores, five columns."""
    rows = [p for p in read_published(FILES[1]).numbers if p.study == "segmentation"]
    assert len(rows) == 45
    unets = [p for p in rows if p.arm.startswith("unet3d") and "cross_entropy" in p.measure]
    assert len(unets) == 6
    assert all("0.3133" in p.caveat for p in unets), "the doubled softmax has a floor"


def test_a_damaged_table_names_its_lines(tmp_path):
    lines = FILES[0].read_text().splitlines()
    rows = list(csv.reader(lines[1:], delimiter="\t"))
    rows[3][COLUMNS.index("value")] = "high"
    path = tmp_path / "t.tsv"
    path.write_text("# head\n" + "\n".join("\t".join(r) for r in rows) + "\n")
    with pytest.raises(VolforgeError, match="line 5"):
        read_published(path)
    path.write_text("study\tarm\nx\ty\n")
    with pytest.raises(VolforgeError, match="columns are missing: structure"):
        read_published(path)
    with pytest.raises(VolforgeError, match="cannot be read"):
        read_published(tmp_path / "none.tsv")
