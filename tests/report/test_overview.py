"""The overview of a study: which arms it names, by how much they differ, and what it calls better."""

import math

import pytest

from volforge.metrics.measure import Measure, nothing
from volforge.report.aggregate import measures_frame
from volforge.report.overview import first_rows, headline
from volforge.report.overview_words import in_sum, line_of
from volforge.report.table import study_table
from volforge.study.measures import Origin, row, write_measures

ROLES = {
    "volforge": "ours",
    "net": "published",
    "old": "published",
    "base": "baseline",
    "bad": "baseline",
    "true": "reference",
}


def study(tmp_path, values, *, measure="dice", first=None, structures=("bone",), less=(), failing=(), label="expert"):
    """Headline and table of a study whose arm `a` has the value `values[a] + i / 100` for subject i of 8."""
    lines = []
    for arm, level in values.items():
        for i in range(8):
            for k, structure in enumerate(structures):
                origin = Origin("s", arm, 0, 0, "c", f"p{i}", f"s{i}", label_source=label)
                value = Measure(measure, level + i / 100 + k / 10, structure)
                lines.append(
                    row(origin, nothing(measure, "empty_prediction", structure) if (arm, i) in failing else value)
                )
    write_measures(tmp_path / "m.tsv", lines)
    kinds = {"ours": "model", "published": "model", "baseline": "baseline", "reference": "ceiling"}
    arms = {
        a: {"kind": kinds[ROLES[a]], "role": ROLES[a], "published_as": a, "note": "", "budget": (1 if a in less else 2) * (ROLES[a] != "baseline")}
        for a in values
    }  # fmt: skip
    settings = {"study": "s", "task": "t", "cohort": "c", "arms": arms, "published": None, "parts": []}
    settings |= {"shown": [measure], "first": first or [["", measure]], "judged_in": [], "picture": "", "note": ""}
    settings["compares_sides"] = []
    table = study_table(tmp_path / "m.tsv", settings)
    return headline(measures_frame(tmp_path / "m.tsv"), table), table


def test_ours_stands_beside_the_best_published_arm_and_the_best_baseline(tmp_path):
    values = {"base": 0.5, "bad": 0.2, "old": 0.3, "net": 0.6, "volforge": 0.8, "true": 0.9}
    found, _ = study(tmp_path, values)
    assert found.subjects == 8
    assert found.ours.arm == "volforge"
    assert found.ours.mean == pytest.approx(0.835)
    assert found.ours.low < 0.835 < found.ours.high
    assert (found.published.entry.arm, found.baseline.entry.arm) == ("net", "base")
    assert found.published.mean == pytest.approx(0.2)
    assert found.published.pairs == 8
    assert found.published.outcome == found.baseline.outcome == "ahead"


@pytest.mark.parametrize(("measure", "outcome"), [("dice", "ahead"), ("hd95_mm", "behind"), ("volume_mm3", "open")])
def test_what_is_better_depends_on_the_measure(tmp_path, measure, outcome):
    found, _ = study(tmp_path, {"net": 0.4, "volforge": 0.8}, measure=measure)
    assert (found.published.outcome if found.measure else "open") == outcome


def test_ratios_are_judged_by_how_far_they_are_from_one(tmp_path):
    """0.4 to 0.47 is nearer to 1 than 12; an image without any texture is no near miss."""
    found, _ = study(tmp_path, {"net": 12.0, "volforge": 0.4}, measure="texture_sd_ratio")
    assert found.published.outcome == "ahead"
    assert found.published.mean < 0


def test_an_interval_that_holds_nothing_apart_is_level(tmp_path):
    lines = {"net": 0.5, "volforge": 0.5}
    found, _ = study(tmp_path, lines)
    assert found.published.outcome == "level"
    assert line_of(found)["cells"][1]["note"].startswith("= undecided: 0.000")


def test_structures_of_a_subject_are_averaged_before_subjects(tmp_path):
    found, _ = study(tmp_path, {"net": 0.2, "volforge": 0.4}, structures=("a", "b"))
    assert found.structures == ("a", "b")
    assert found.ours.mean == pytest.approx(0.4 + 0.035 + 0.05)
    assert found.published.pairs == 8
    assert line_of(found)["of"] == "a and b"


def test_an_arm_that_had_less_is_named_and_not_compared(tmp_path):
    found, _ = study(tmp_path, {"net": 0.9, "volforge": 0.4}, less=("net",))
    assert found.published.entry.had_less
    assert found.published.outcome == "open"
    assert math.isnan(found.published.mean)
    assert line_of(found)["cells"][1]["note"] == "smaller budget: not compared"


def test_a_full_budget_goes_before_a_smaller_one(tmp_path):
    found, _ = study(tmp_path, {"old": 0.9, "net": 0.3, "volforge": 0.4}, less=("old",))
    assert found.published.entry.arm == "net"


def test_failing_more_often_is_never_ahead(tmp_path):
    found, _ = study(tmp_path, {"net": 0.4, "volforge": 0.8}, failing={("volforge", 3)})
    assert found.ours.failures == 1
    assert found.published.outcome == "level"
    assert "(1 failed)" in line_of(found)["cells"][0]["note"]


def test_a_study_without_measures_has_an_empty_line(tmp_path):
    found, table = study(tmp_path, {}, first=[["", "dice"]])
    assert (found.measure, line_of(found), first_rows(table)) == ("", {}, [])


def test_the_short_table_has_five_rows_and_every_first_measure(tmp_path):
    lines = []
    for measure in ("dice", "hd95_mm", "assd_mm"):
        for structure in "abcdefgh":
            lines.append(row(Origin("s", "volforge", 0, 0, "c", "p", "s"), Measure(measure, 0.5, structure)))
    write_measures(tmp_path / "m.tsv", lines)
    settings = {"study": "s", "task": "t", "cohort": "c", "published": None, "parts": [], "picture": "", "note": ""}
    settings["arms"] = {"volforge": {"kind": "model", "role": "ours", "published_as": "", "note": ""}}
    settings |= {"shown": [], "judged_in": [], "compares_sides": []}
    settings["first"] = [["", "dice"], ["c", "hd95_mm"], ["", "nothing"], ["", "assd_mm"]]
    rows = [(r.measure, r.structure) for r in first_rows(study_table(tmp_path / "m.tsv", settings))]
    assert rows == [("dice", "a"), ("dice", "b"), ("dice", "c"), ("hd95_mm", "c"), ("assd_mm", "a")]


def test_every_task_names_first_measures_that_it_knows():
    from volforge.metrics.measure import better
    from volforge.tasks.registry import TASKS, task

    for name in TASKS:
        first = task(name).first
        assert first, name
        assert better(first[0][1]) != "neither", name


@pytest.mark.parametrize(("measure", "words"), [("dice", "▲ better by 0.400 ["), ("hd95_mm", "▼ worse by 0.400 [")])
def test_a_difference_is_a_size_with_the_word(tmp_path, measure, words):
    found, _ = study(tmp_path, {"old": 0.1, "net": 0.4, "volforge": 0.8}, measure=measure)
    line = line_of(found, {"net": 1200, "old": 1200, "volforge": 1200})
    other = "old" if measure == "hd95_mm" else "net"
    words = words.replace("0.400", "0.700") if other == "old" else words
    cell = line["cells"][1]
    assert (cell["arm"], cell["more"]) == (other, "best of 2; trained here on 1,200 samples, as ours")
    assert cell["note"].startswith(words)
    assert line["cells"][2] == {"value": "", "outcome": "", "more": "none in this study"}
    assert line["subjects"] == "8 test subjects"


def test_fitted_arms_say_so(tmp_path):
    found, _ = study(tmp_path, {"net": 0.4, "volforge": 0.8})
    assert "ours is fitted at once" in line_of(found, {"net": 240, "volforge": 0})["cells"][1]["more"]


def test_all_comparisons_in_a_sentence():
    assert in_sum(["ahead", "ahead", "level", "open"]) == (
        "Ours is better in 2, worse in 0, undecided in 1 of 3 comparisons. 1 more could not be compared."
    )
    assert in_sum(["open"]) == in_sum([]) == ""


@pytest.mark.parametrize(("ours", "outcome"), [(0.8, "ahead"), (0.6, "level"), (0.4, "behind")])
def test_failing_less_often_makes_nothing_better_by_itself(tmp_path, ours, outcome):
    found, _ = study(tmp_path, {"net": 0.6, "volforge": ours}, failing={("net", 3)})
    assert found.published.outcome == outcome


def test_five_subjects_are_too_few_to_tell(tmp_path):
    failing = {(a, i) for a in ("net", "volforge") for i in (5, 6, 7)}
    found, _ = study(tmp_path, {"net": 0.2, "volforge": 0.8}, failing=failing)
    assert found.published.pairs == 5
    assert found.published.outcome == "open"
    assert line_of(found)["cells"][1]["note"].startswith("5 subjects: too few to tell: +0.600 [")


def test_variants_of_ours_are_no_published_method():
    from tests.conftest import ROOT
    from volforge.workflow.run import load_run
    from volforge.workflow.study_settings import _role

    run = load_run([ROOT / "config/examples/translation_arms.yaml"], check_files=False)
    study = next(iter(run.studies.values()))
    roles = {a: _role(run.studies, study, a) for a in study.settings.arms}
    assert roles["volforge"] == "ours"
    assert {r for a, r in roles.items() if a.startswith("volforge_")} == {"variant"}
    assert "published" in roles.values()
