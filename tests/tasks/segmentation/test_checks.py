"""What is wrong with the models of a study is said with its place, all at once."""

import pytest

from volforge.errors import VolforgeError
from volforge.workflow.run import load_run
from volforge.workflow.study_settings import model_settings

SHEET = "subject\tscan\tmodality\timage\tlabels\tlabel_source\na\ts\tCT\ti.nii.gz\tl.nii.gz\texpert\n"
STRUCTURES = "structure\tid\tside\tgroup\nhead_left\t1\tleft\thead\nhead_right\t2\tright\thead\nplate\t3\t\t\n"
BASE = """\
cohorts:
  c: {sheet: s.tsv, folds: 2}
recipes:
  whole: {kind: region, around: image}
  tight: {kind: region, around: [plate]}
  flat: {kind: slices}
studies:
  s:
    task: segmentation
    cohort: c
    folds: [0]
    structures: [head, plate]
"""


def load(tmp_path, rest, base=BASE):
    (tmp_path / "s.tsv").write_text(SHEET)
    (tmp_path / "s.structures.tsv").write_text(STRUCTURES)
    (tmp_path / "c.yaml").write_text(base + rest)
    return load_run([tmp_path / "c.yaml"], None, check_files=False)


GOOD = """\
    defaults: {recipe: whole, network: unet3d, loss: ce, training: {steps: 5, rate: 0.1}}
    shared:
      finder: {kind: localiser, structures: [head]}
    arms:
      a:
        models:
          heads: {structures: [head], region: {around: head, size: [8, 8, 8]}, needs: [shared/finder], training: {rate: 0.2}}
          plate: {structures: [plate], network: {name: vnet, width: 2}, loss: dice_boundary}
"""


def test_defaults_and_what_overrides_them(tmp_path):
    study = load(tmp_path, GOOD).studies["s"]
    assert list(study.trained()) == [("shared", "finder"), ("a", "heads"), ("a", "plate")]
    heads, plate, finder = (model_settings(study, *k) for k in (("a", "heads"), ("a", "plate"), ("shared", "finder")))
    assert (heads["training"]["steps"], heads["training"]["rate"]) == (5, 0.2)
    assert (plate["training"]["steps"], plate["training"]["rate"]) == (5, 0.1)
    assert heads["classes"] == [{"structure": "head", "side": "", "ids": {"left": 1, "right": 2}}]
    assert heads["region"]["ids"] == {"left": 1, "right": 2}
    assert plate["classes"] == [{"structure": "plate", "side": "", "ids": {"": 3}}]
    assert plate["network"] == {"name": "vnet", "width": 2}
    assert (finder["kind"], finder["network"]) == ("localiser", {"name": "unet3d"})
    assert finder["own"] != plate["own"]  # other code stands behind other names


def test_null_takes_back_a_default(tmp_path):
    text = GOOD.replace("loss: ce,", "loss: ce, region: {around: head, size: [8, 8, 8]}, needs: [shared/finder],")
    study = load(tmp_path, text.replace("plate: {structures", "plate: {region: null, needs: null, structures")).studies[
        "s"
    ]
    assert study.models_of("a")["plate"].region is None
    assert study.models_of("a")["heads"].region is not None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("network: unet3d", "network: unet", "no network 'unet'"),
        ("{name: vnet, width: 2}", "{name: vnet, widht: 2}", "did you mean 'width'?"),
        ("loss: ce", "loss: cross", "no loss 'cross'"),
        ("recipe: whole", "recipe: whol", "did you mean 'whole'?"),
        ("recipe: whole", "recipe: flat", "not slices"),
        ("recipe: whole", "recipe: tight", "a localiser for small regions"),
        ("recipe: whole, ", "", "a model needs a recipe"),
        ("network: unet3d, ", "", "a model needs a network"),
        ("structures: [plate]", "structures: [plates]", "known: head, head_left, head_right, plate"),
        ("structures: [plate]", "structures: [plate], training: {centred_on: [head]}", "learnt: plate"),
        ("around: head", "around: plate", "no such structure with sides"),
        ("[head], region", "[plate], region", "has no left and right"),
        ("needs: [shared/finder], ", "", "boxes about joints need a localiser"),
        ("needs: [shared/finder]", "needs: [shared/other]", "models: shared/finder"),
        ("plate: {structures", "plate: {kind: localiser, structures", "write it under `shared`"),
        ("structures: [head]}\n", "structures: [head], loss: dice_boundary}\n", "has no distance maps"),
        ("structures: [plate], network", "training: {flip: [x]}, network", "exchange left and right of head"),
        ("{kind: localiser,", "{kind: localiser, region: {around: head, size: [8, 8, 8]},", "sees the whole scan"),
        ("plate: {structures", "plate: {dilate_mm: 3, structures", "nothing reads it: it belongs to a localiser"),
        ("plate: {structures", "plate: {needs: [shared/finder], structures", "boxes about joints alone need a localiser"),
        ("      a:\n", "      a:\n        inference: {keep: {haed: 0.2}}\n", "did you mean 'head'?"),
        ("      a:\n", "      a:\n        inference: {samples: 3}\n", "label maps have no samples"),
        ("training: {rate: 0.2}", "training: {rat: 0.2}", "did you mean 'rate'?"),
        ("training: {rate: 0.2}", "training: {rate: -1}", "greater than 0"),
        ("    arms:", "    arms:\n      b: {}", "an arm needs one of `models`, `baseline` and `predictions`"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(tmp_path, old, new, said):
    assert old in GOOD
    with pytest.raises(VolforgeError) as error:
        load(tmp_path, GOOD.replace(old, new, 1))
    text = str(error.value)
    assert said in text, text
    assert "c.yaml" in text


def test_all_mistakes_come_at_once(tmp_path):
    text = GOOD.replace("loss: ce", "loss: cross").replace("[plate]", "[plates]").replace("width: 2", "widht: 2")
    with pytest.raises(VolforgeError) as error:
        load(tmp_path, text)
    assert all(w in str(error.value) for w in ("no loss 'cross'", "'plates'", "'widht'"))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("semantic_synthesis", "a generator serves its own arm: leave out `shared`"),
        ("translation", "a model under `shared` finds outlines"),
        ("translation", "plate.loss: has no meaning for translation"),
    ],
)
def test_models_belong_to_tasks_that_train_such(tmp_path, task, said):
    with pytest.raises(VolforgeError) as error:
        load(tmp_path, GOOD, BASE.replace("task: segmentation", f"task: {task}"))
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["source: {modality: MR}", "target: {modality: CT}", "joint: {condyle: head}"])
def test_keys_belong_to_their_task(tmp_path, key):
    with pytest.raises(VolforgeError, match=f"studies.s.{key.split(':')[0]}: unknown key"):
        load(tmp_path, f"    {key}\n{GOOD}")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("network: unet3d,", "network: unet3d, synthesis: {mode: paired},", "defaults.synthesis"),
        ("plate: {structures", "plate: {synthesis: {mode: paired}, structures", "arms.a.models.plate.synthesis"),
    ],
)
def test_only_generators_are_told_how_to_paint(tmp_path, old, new, place):
    with pytest.raises(VolforgeError, match=f"studies.s.{place}: unknown key"):
        load(tmp_path, GOOD.replace(old, new, 1))


def test_balls_need_their_groups(tmp_path):
    base = BASE.replace("folds: 2}", "folds: 2, balls: {condyle: head, structure: ball}}")
    with pytest.raises(VolforgeError, match="no group 'ball' with a left and a right"):
        load(tmp_path, GOOD, base)
