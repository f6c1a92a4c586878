"""What models and predictions need: resolved, and refused where that is unknown, circular or leaking."""

import pytest

from tests.conftest import ROOT
from volforge.errors import ProblemsError
from volforge.workflow import study_jobs
from volforge.workflow.needs import Named, all_needs
from volforge.workflow.run import load_run
from volforge.workflow.study_settings import model_settings

TASK = """
from volforge.tasks.protocol import Task


class Chain(Task):
    train, predict, measure = ":train", ":train", ":train"

    def labels_from(self, arm):
        return tuple(arm.note.split("/")) if arm.note else None


def train(*arguments):
    return ""
"""


def run_of(tmp_path, monkeypatch, studies, cohorts=""):
    (tmp_path / "chain.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(
        f"cohorts:\n  tmj: {{sheet: {ROOT}/config/cohorts/tmj.tsv, phantom: {{kind: tmj}}, folds: 2}}\n{cohorts}"
        f"studies:\n{studies}"
    )
    return load_run(["c.yaml"])


ONE = "  a: {{task: 'chain.py:Chain', cohort: tmj, {more} arms: {{volforge: {{models: {models}}}}}}}\n"


def test_coarse_before_fine_and_models_of_other_studies(tmp_path, monkeypatch):
    studies = ONE.format(more="folds: [0],", models="{coarse: {needs: [shared/find]}, fine: {needs: [coarse, b/x/m]}}")
    studies = studies.replace("arms:", "shared: {find: {}}, arms:")
    studies += "  b: {task: 'chain.py:Chain', cohort: tmj, folds: [0, 1], arms: {x: {models: {m: {}}}}}\n"
    run = run_of(tmp_path, monkeypatch, studies)
    found = all_needs(run.studies, run.studies["a"], "volforge")
    assert found == {
        "coarse": Named("a", "volforge", "coarse"),
        "fine": Named("a", "volforge", "fine"),
        "shared/find": Named("a", "shared", "find"),
        "b/x/m": Named("b", "x", "m"),
    }
    options = study_jobs.options_of_training(run.studies, run.studies["a"], "volforge", "fine", 0, 3)
    assert options == (
        "--needs=coarse=results/studies/a/volforge/fold0/seed3/models/coarse "
        "--needs=b/x/m=results/studies/b/x/fold0/seed3/models/m"
    )
    files = study_jobs.inputs_of_prediction(run.studies, run.studies["a"], "volforge", 0, 3)
    assert files["shared/find"] == "results/studies/a/shared/fold0/seed3/models/find/weights.safetensors"
    assert len(files) == 4
    assert model_settings(run.studies["a"], "volforge", "fine")["task"] == "chain.py:Chain"


@pytest.mark.parametrize(
    ("models", "text"),
    [
        ("{m: {needs: [other]}}", "no model 'other'"),
        ("{m: {needs: [b/x]}}", "no model 'b/x'"),
        ("{m: {needs: [b/x/m]}}", "no model 'b/x/m'"),
        ("{m: {needs: [shared/find]}}", "no model 'shared/find'"),
        ("{m: {needs: ['']}}", "no model ''"),
        (
            "{m: {needs: [n]}, n: {needs: [m]}}",
            "needs itself in the end: a/volforge/m needs a/volforge/n needs a/volforge/m",
        ),
        ("{m: {needs: [m]}}", "needs itself in the end"),
    ],
)
def test_unknown_and_circular_needs_are_named_with_their_line(tmp_path, monkeypatch, models, text):
    with pytest.raises(ProblemsError) as error:
        run_of(tmp_path, monkeypatch, ONE.format(more="folds: [0],", models=models))
    assert text in str(error.value)
    assert "c.yaml:4:" in str(error.value)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ("cohort: tmj, folds: [1],", "has the folds [1], this one [0]"),
        ("cohort: tmj,", "has the folds none"),
        ("cohort: tmj2, folds: [0],", "of the cohort 'tmj2'"),
        ("cohort: tmj, folds: [0], seeds: [1],", "has the seeds [1], this one [0]"),
    ],
)
def test_models_that_have_seen_our_test_subjects_are_refused(tmp_path, monkeypatch, other, text):
    studies = ONE.format(more="folds: [0],", models="{m: {needs: [b/x/m]}}")
    studies += f"  b: {{task: 'chain.py:Chain', {other} arms: {{x: {{models: {{m: {{}}}}}}}}}}\n"
    again = f"  tmj2: {{sheet: {ROOT}/config/cohorts/tmj.tsv, phantom: {{kind: tmj, seed: 2}}, folds: 2}}\n"
    with pytest.raises(ProblemsError) as error:
        run_of(tmp_path, monkeypatch, studies, again)
    assert text in str(error.value)
    assert "c.yaml:5:" in str(error.value)


def test_sources_of_predictions_are_part_of_the_graph(tmp_path, monkeypatch):
    arms = "{x: {baseline: null, predictions: ., note: b/x}}"
    studies = f"  a: {{task: 'chain.py:Chain', cohort: tmj, folds: [0], arms: {arms}}}\n"
    studies += studies.replace("  a:", "  b:").replace("b/x", "a/x")
    with pytest.raises(ProblemsError, match="needs itself in the end"):
        run_of(tmp_path, monkeypatch, studies)
    with pytest.raises(ProblemsError, match="no such arm of another study"):
        run_of(tmp_path, monkeypatch, studies.split("\n")[0].replace("b/x", "c/x") + "\n")


def test_a_need_of_the_defaults_is_none_of_the_model_that_it_names(tmp_path, monkeypatch):
    studies = ONE.format(more="folds: [0], defaults: {needs: [shared/find]}, shared: {find: {}},", models="{m: {}}")
    run = run_of(tmp_path, monkeypatch, studies)
    assert list(all_needs(run.studies, run.studies["a"], "volforge")) == ["m", "shared/find"]


def test_no_model_of_another_arm_passes_for_one_of_its_own(tmp_path, monkeypatch):
    """A shared model that needs another shared one by its plain name: the arm's own model of that name is kept."""
    more = "folds: [0], shared: {coarse: {needs: [fine]}, fine: {}},"
    run = run_of(tmp_path, monkeypatch, ONE.format(more=more, models="{fine: {needs: [shared/coarse]}}"))
    assert all_needs(run.studies, run.studies["a"], "volforge") == {
        "fine": Named("a", "volforge", "fine"),
        "shared/coarse": Named("a", "shared", "coarse"),
        "shared/fine": Named("a", "shared", "fine"),
    }


def test_defaults_and_models_that_do_not_fit_together_are_named(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from pydantic import Field, model_validator\n"
        "from volforge.tasks.protocol import Arm, Model, ModelOptions, Name, Study, Task\n\n\n"
        "class Pair(Model):\n    a: int = 0\n    b: int = 0\n\n    @model_validator(mode='after')\n"
        "    def _fits(self):\n        if self.a and self.b:\n            raise ValueError('a and b exclude each other')\n"
        "        return self\n\n\nclass Options(ModelOptions):\n    pair: Pair | None = None\n\n\n"
        "class OwnArm(Arm):\n    models: dict[Name, Options] = {}\n\n\n"
        "class OwnStudy(Study):\n    defaults: Options = Options()\n    arms: dict[Name, OwnArm]\n\n\n"
        "class Own(Task):\n    study = OwnStudy\n    train, predict, measure = ':f', ':f', ':f'\n\n\ndef f():\n    pass\n"
    )
    studies = ONE.format(more="folds: [0], defaults: {pair: {a: 1}},", models="{m: {pair: {b: 1}}}")
    with pytest.raises(ProblemsError) as error:
        run_of(tmp_path, monkeypatch, studies.replace("chain.py:Chain", "own.py:Own"))
    assert "a and b exclude each other" in str(error.value)
    assert "c.yaml:4:" in str(error.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("train, predict, measure", "train, predict, other"), "it has no entry `measure`"),
        (('":train", ":train", ":train"', '":train", ":train", "volforge.study.label_arms:measure"'), "label_arms"),
        (('":train", ":train", ":train"', "1, ':train', ':train'"), "not what the protocol asks for"),
        (("class Chain(Task):", "class Chain(Task):\n    baselines = [1]"), "not what the protocol asks for"),
        (
            ("class Chain(Task):", "class Chain(Task):\n    def __init__(self):\n        raise KeyError('x')"),
            "KeyError",
        ),
        (
            ("class Chain(Task):", "class Chain(Task):\n    def problems(self, *a):\n        raise KeyError('x')"),
            "KeyError",
        ),
        (("class Chain(Task):", "import sys; sys.exit(0)\n\n\nclass Chain(Task):"), "cannot be imported: SystemExit"),
        (("class Chain(Task):", "from .beside import x\n\n\nclass Chain(Task):"), "imports .beside"),
    ],
)
def test_descriptions_that_cannot_be_used_are_named(tmp_path, monkeypatch, change, text):
    monkeypatch.setattr("tests.workflow.test_needs.TASK", TASK.replace(*change))
    with pytest.raises(ProblemsError) as error:
        run_of(tmp_path, monkeypatch, ONE.format(more="folds: [0],", models="{m: {}}"))
    assert text in str(error.value)
    assert "c.yaml:4:" in str(error.value)
