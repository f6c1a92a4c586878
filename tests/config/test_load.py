from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volforge.config.models import Cohort
from volforge.errors import ProblemsError
from volforge.workflow.configuration import Configuration
from volforge.workflow.load import known_keys, load_configuration
from volforge.workflow.run import load_run


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8")
    return [str(p) for p in load_configuration([file]).problems]


def test_unknown_key_names_the_nearest_one_with_its_place(tmp_path):
    found = problems(tmp_path, "cohorts:\n  a:\n    sheet: a.tsv\n    recpies: []\n")
    assert len(found) == 1
    assert "c.yaml:4:5: cohorts.a.recpies: unknown key" in found[0]
    assert "did you mean 'recipes'?" in found[0]


def test_all_problems_come_at_once(tmp_path):
    text = """
cohorts:
  a: {sheet: a.tsv, on_bad_scan: halt, recipes: [axail]}
  b: {folds: 0}
recipes:
  axial: {kind: slices, axes: axial, size: [2, 2]}
  block: {kind: regoin}
extra: 1
"""
    found = "\n".join(problems(tmp_path, text))
    for expected in (
        "cohorts.a.on_bad_scan: must be one of",
        "cohorts.a.recipes.0: recipe is not defined",
        "cohorts.b.sheet: required key is missing",
        "cohorts.b.folds",
        "recipes.axial.axes: unknown key",
        "recipes.axial.size.0",
        "recipes.block: must be one of",
        "extra: unknown key",
    ):
        assert expected in found


def test_key_that_stands_twice_is_an_error(tmp_path):
    found = problems(tmp_path, "cohorts:\n  a: {sheet: a.tsv}\n  a: {sheet: b.tsv}\n")
    assert any("c.yaml:3:3" in p and "stands twice" in p for p in found)


def test_merged_keys_stand_where_they_were_written(tmp_path):
    """A path below `<<` starts from the folder of its file, and what is overridden has the place of its own."""
    text = (
        "cohorts:\n"
        "  a: &a {sheet: a.tsv, root: data, folds: 3}\n"
        "  b: &b {sheet: b.tsv, seed: 4, folds: 2}\n"
        "  c: {<<: [*b, *a], sheet: c.tsv, seeed: 1}\n"
    )
    file = tmp_path / "c.yaml"
    file.write_text(text)
    loaded = load_configuration([file])
    assert loaded.folder_of(("cohorts", "c", "root")) == tmp_path
    columns = {k: loaded.places["cohorts", "c", k] for k in ("root", "folds", "seed", "sheet")}
    assert {k: p.line for k, p in columns.items()} == {"root": 2, "folds": 3, "seed": 3, "sheet": 4}
    assert len(loaded.problems) == 1
    assert "c.yaml:4:35: cohorts.c.seeed: unknown key" in str(loaded.problems[0])


def test_a_root_that_is_not_there_is_said_once(tmp_path):
    (tmp_path / "a.tsv").write_text("subject\tscan\tmodality\timage\np1\ts1\tCT\ta.nii.gz\np2\ts2\tCT\tb.nii.gz\n")
    (tmp_path / "c.yaml").write_text("cohorts:\n  a: {sheet: a.tsv, root: data}\n")
    with pytest.raises(ProblemsError) as raised:
        load_run([tmp_path / "c.yaml"])
    assert [p.message for p in raised.value.problems] == ["cohorts.a.root: folder not found"]


def test_yaml_error_has_line_and_column(tmp_path):
    assert "c.yaml:3:1" in problems(tmp_path, "cohorts:\n  a: [1\n")[0]


def test_later_file_wins_key_by_key(tmp_path):
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("cohorts: {a: {sheet: a.tsv, folds: 3, seed: 4}}")
    second.write_text("cohorts: {a: {folds: 7}}")
    loaded = load_configuration([first, second])
    assert loaded.configuration is not None
    cohort = loaded.configuration.cohorts["a"]
    assert (cohort.sheet, cohort.folds, cohort.seed) == ("a.tsv", 7, 4)


def test_missing_and_binary_files_are_problems(tmp_path):
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    loaded = load_configuration([tmp_path / "none.yaml", tmp_path / "b.yaml"])
    assert [p.message[:9] for p in loaded.problems] == ["file not ", "cannot be"]


def test_python_objects_in_yaml_are_refused(tmp_path):
    assert "not valid YAML" in problems(tmp_path, "cohorts: !!python/object/apply:os.system ['true']")[0]


def test_known_keys_follow_mappings_lists_and_unions():
    assert "folds" in known_keys(Configuration, ("cohorts", "any", "x"))
    assert "axis" in known_keys(Configuration, ("recipes", "any", "slices", "x"))
    assert known_keys(Configuration, ("recipes", "any", "slices", "ct_window", "hu", "x")) == [
        "high",
        "kind",
        "low",
    ]


@given(st.floats(0, 1), st.floats(0, 1))
def test_splits_must_sum_to_one(train, val):
    content = {"sheet": "a.tsv", "splits": {"train": train, "val": val, "test": 0.0}}
    accepted = abs(train + val - 1) <= 1e-6
    try:
        Cohort.model_validate(content)
    except ValueError:
        assert not accepted
    else:
        assert accepted
