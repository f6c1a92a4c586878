"""Arms that were trained on less than another one of their study are marked, and never ranked."""

from tests.report.test_table import line
from volforge.report.formats import table_latex, table_markdown
from volforge.report.study_view import unequal_times
from volforge.report.table import study_table
from volforge.study.measures import write_measures
from volforge.workflow.study_settings import table_settings

SUBJECTS = [f"p{n}" for n in range(8)]


def settings(**budgets):
    arms = {
        name: {"kind": "model" if budget else "baseline", "published_as": name, "note": "", "budget": budget}
        for name, budget in budgets.items()
    }
    return {
        "study": "s_1", "task": "any", "cohort": "c", "arms": arms, "published": None, "parts": [], "shown": [],
        "judged_in": [], "picture": "", "note": "", "compares_sides": [],
    }  # fmt: skip


def table_of(tmp_path, values, equal="samples", **budgets):
    lines = [line(arm, s, v + k / 100) for arm, v in values.items() for k, s in enumerate(SUBJECTS)]
    write_measures(tmp_path / "m.tsv", lines)
    return study_table(tmp_path / "m.tsv", settings(**budgets) | {"equal": equal})


def test_an_arm_with_fewer_samples_is_neither_best_nor_tested_nor_said_to_lose(tmp_path):
    values = {"few": 0.9, "ours": 0.8, "theirs": 0.6, "base": 0.85}
    table = table_of(tmp_path, values, few=100, ours=200, theirs=200, base=0)
    (row,) = table.rows
    assert row.cells["base"].is_best
    assert not row.cells["few"].is_best
    assert row.cells["few"].loses_to == ""  # the best baseline is beaten
    assert row.cells["ours"].loses_to == "base"
    assert {frozenset((t.a, t.b)) for t in row.tests} == {
        frozenset(p) for p in (("ours", "theirs"), ("ours", "base"), ("theirs", "base"))
    }
    text = table_markdown(table)
    assert "few ‡" in text
    assert "ours ‡" not in text
    assert "‡ Trained on fewer samples than another arm (200): few 100. Never bold, tested or ranked." in text
    assert "few $\\ddagger$" in table_latex(table)


def test_an_arm_with_fewer_samples_is_still_seen_beside_the_baselines(tmp_path):
    table = table_of(tmp_path, {"few": 0.4, "ours": 0.8, "base": 0.6}, few=100, ours=200, base=0)
    assert table.rows[0].cells["few"].loses_to == "base"
    assert table.rows[0].cells["ours"].is_best


def test_equal_budgets_and_arms_without_training_have_no_mark(tmp_path):
    table = table_of(tmp_path, {"ours": 0.8, "theirs": 0.9, "base": 0.5}, ours=200, theirs=200, base=0)
    assert table.rows[0].cells["theirs"].is_best
    assert "‡" not in table_markdown(table)


def test_a_bound_that_had_more_takes_the_rank_from_nobody_and_less_does_not_mark_it(tmp_path):
    values = {"upper": 0.9, "ours": 0.8, "theirs": 0.6}
    for budget in (50, 400):
        lines = [line(arm, s, v + k / 100) for arm, v in values.items() for k, s in enumerate(SUBJECTS)]
        write_measures(tmp_path / "m.tsv", lines)
        content = settings(upper=budget, ours=100, theirs=100)
        content["arms"]["upper"]["kind"] = "ceiling"
        table = study_table(tmp_path / "m.tsv", content)
        assert table.arms["upper"] == "ceiling"
        assert table.rows[0].cells["ours"].is_best
        assert len(table.rows[0].tests) == 1
        assert "‡" not in table_markdown(table)


def test_arms_planned_for_the_same_time_are_ranked_and_their_samples_said(tmp_path):
    table = table_of(tmp_path, {"few": 0.9, "ours": 0.8, "base": 0.5}, equal="time", few=100, ours=200, base=0)
    (row,) = table.rows
    assert row.cells["few"].is_best
    assert {"few", "ours"} in [{t.a, t.b} for t in row.tests]
    text = table_markdown(table)
    assert "‡" not in text
    assert "the same time of training, not for the same samples (few 100, ours 200)" in text


def test_the_page_warns_where_the_same_time_was_not_the_same(tmp_path):
    def cost(few):
        return [
            {"arm": "few", "train_device_hours": few},
            {"arm": "ours", "train_device_hours": "0.5"},
            {"arm": "base", "train_device_hours": "0"},
        ]

    values = {"few": 0.9, "ours": 0.8, "base": 0.5}
    table = table_of(tmp_path, values, equal="time", few=100, ours=200, base=0)
    assert unequal_times(table, cost("0.4")) == []
    (said,) = unequal_times(table, cost("0.3"))
    assert "few 0.60" in said
    assert "base" not in said
    assert unequal_times(table_of(tmp_path, values, few=100, ours=200, base=0), cost("0.3")) == []


def test_budgets_are_samples_over_all_models(tmp_path, monkeypatch):
    import json

    from tests.conftest import ROOT
    from volforge.workflow.run import load_run

    run = load_run([ROOT / "config/config.yaml"], check_files=False)
    for name in ("tmj_segmentation", "body_semantic_synthesis"):
        study = run.studies[name]
        budgets = {a: c["budget"] for a, c in json.loads(table_settings({study.name: study}, study))["arms"].items()}
        trained = [b for b in budgets.values() if b]
        assert len(trained) == 2
        assert len(set(trained)) == 1, "arms of the default run stand side by side"
    models = {m for a in study.settings.arms for m in study.models_of(a)}
    assert models == {"image"}
