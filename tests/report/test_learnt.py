"""When an arm is called learnt, and how the table says it."""

import pytest

from tests.report.test_table import line, settings
from volforge.metrics.measure import NOMINAL, better, unit_of
from volforge.report.formats import table_markdown
from volforge.report.table import study_table
from volforge.study.measures import write_measures
from volforge.tasks.registry import task

ARMS = {
    "volforge": {"kind": "model", "published_as": "volforge", "note": "", "baseline": ""},
    "depth": {"kind": "baseline", "published_as": "depth", "note": "", "baseline": "depth_profile"},
}


def table_of(tmp_path, ours, arms=None, fails=0, base_fails=0, **more):
    """Ours and the depth profile on eight subjects: (MAE, bone Dice) of ours, with some spread."""
    lines = []
    for arm, (mae, dice) in {"volforge": ours, "depth": (155, 0.44)}.items():
        for i in range(8):
            lines.append(line(arm, f"p{i}", mae + 3 * (i % 3), measure="mae_hu", structure="body", source=""))
            gone = i < (fails if arm == "volforge" else base_fails)
            value = None if gone else dice + 0.01 * (i % 4)
            lines.append(line(arm, f"p{i}", value, measure="bone_dice", structure="bone", source=""))
    write_measures(tmp_path / "measures.tsv", lines)
    own = task("translation")
    content = settings(arms=arms or ARMS, name="translation")
    content |= {"must_beat": own.must_beat, "learnt_by": own.learnt_by} | more
    return study_table(tmp_path / "measures.tsv", content)


def test_better_in_both_is_learnt(tmp_path):
    table = table_of(tmp_path, (110, 0.75))
    assert table.learnt["volforge"].holds
    assert table.heading("volforge") == "volforge"
    first, second = table.learnt["volforge"].differences
    assert (first.pairs, first.mean) == (8, pytest.approx(-45))
    assert second.mean == pytest.approx(0.31)
    text = table_markdown(table)
    assert "volforge: learnt; less depth: mae_hu of body -45 [-45, -45] HU, bone_dice of bone +0.31" in text


@pytest.mark.parametrize("ours", [(110, 0.43), (160, 0.75), (155, 0.44)])
def test_better_in_one_alone_is_not(tmp_path, ours):
    table = table_of(tmp_path, ours)
    assert not table.learnt["volforge"].holds
    assert table.heading("volforge") == "volforge §"
    assert any(n.startswith("volforge: not shown to have learnt") for n in table.notes)


def test_an_arm_that_fails_more_often_has_not_learnt(tmp_path):
    table = table_of(tmp_path, (110, 0.75), fails=1)
    difference = table.learnt["volforge"].differences[1]
    assert (difference.pairs, difference.more_failures) == (8, 1)
    assert difference.mean == pytest.approx((7 * 0.31 - 0.44) / 8)  # its failure counts as no overlap
    assert not table.learnt["volforge"].holds
    assert any("1 more failures" in n for n in table.notes)


def test_a_baseline_that_shows_no_bone_at_all_is_beaten(tmp_path):
    table = table_of(tmp_path, (110, 0.5), base_fails=8)
    difference = table.learnt["volforge"].differences[1]
    assert (difference.pairs, difference.more_failures) == (8, -8)
    assert table.learnt["volforge"].holds


def test_a_difference_whose_interval_holds_zero_is_not_enough(tmp_path):
    lines = []
    for i in range(8):
        for arm, mae in (("volforge", 150 + 40 * (-1) ** i), ("depth", 155)):
            lines.append(line(arm, f"p{i}", mae, measure="mae_hu", structure="body", source=""))
    write_measures(tmp_path / "measures.tsv", lines)
    content = settings(arms=ARMS, name="translation")
    content |= {"must_beat": "depth_profile", "learnt_by": [["body", "mae_hu"]]}
    (found,) = study_table(tmp_path / "measures.tsv", content).learnt["volforge"].differences
    assert found.low < 0 < found.high
    assert not found.holds


def test_without_the_baseline_no_arm_is_called_learnt(tmp_path):
    arms = ARMS | {"depth": ARMS["depth"] | {"baseline": "constant"}}
    table = table_of(tmp_path, (110, 0.75), arms=arms)
    assert not table.learnt
    assert any(n.startswith("No arm is called learnt") for n in table.notes)


def test_other_tasks_say_nothing_of_it(tmp_path):
    assert not table_of(tmp_path, (110, 0.75), must_beat="").learnt
    assert not task("semantic_synthesis").must_beat


def test_new_measures_have_a_direction_and_a_unit():
    assert better("bias_hu") == "nominal"
    assert NOMINAL["bias_hu"] == 0
    directions = {
        "bone_dice_250hu": "higher", "outline_dice_raw": "higher", "outline_hd95_raw_mm": "lower",
        "intracranial_air_share": "lower", "gap_mind_distance": "lower", "inner_mind_distance": "neither",
        "water_path_error_mm": "nominal", "water_path_error_p95_mm": "lower", "coverage_50": "nominal",
        "histogram_distance_hu": "lower", "mu_mae_percent": "lower",
    }  # fmt: skip
    assert {m: better(m) for m in directions} == directions
    units = {"bone_dice_250hu": "1", "outline_hd95_raw_mm": "mm", "attenuation_error_abs_percent": "percent"}
    assert {m: unit_of(m) for m in units} == units
