"""Trainings whose answer is known: painted MR, registered pairs, some of both, and the second stage on real MR."""

import numpy as np
import pytest
import torch

from tests.tasks.translation.made import JUDGE, settings
from volforge.config.models import SliceRecipe
from volforge.study.cases import Cohort
from volforge.tasks.translation.judge import PaintedJudge, PairJudge
from volforge.tasks.translation.regression import Painter, RegressionTask
from volforge.tasks.translation.slices import SliceSet, put_beside
from volforge.training.loop import train
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.stop import Stop
from volforge.training.task import Plan

STILL = SliceAugmentation(flip=False, turn=0, scale=0, shift=0)


@pytest.fixture(scope="module")
def parts(heads):
    """CT, pairs and real MR of the cohort, with a neighbour on each side."""
    cohort, folder = Cohort(heads), heads.parent / "recipes" / "slices"
    recipe = SliceRecipe(**settings().recipe_settings)

    def rows(*scans):
        return [r for r in cohort.rows if r["scan"] in scans]

    def made(context=0):
        partners = {"s9-mr": put_beside(cohort, recipe, folder, "s9-mr", rows("s9-ct")[0])}
        return {
            "targets": SliceSet(folder, rows("s3-ct", "s4-ct"), context=context),
            "pairs": SliceSet(folder, rows("s9-mr"), context=context, partners=partners),
            "sources": SliceSet(folder, rows("s0-mr"), context=context),
        }

    return made


def task(parts, *names, **own):
    model = settings(**own)
    given = parts(model.context)
    chosen = [given[n] if n in names else None for n in ("targets", "pairs", "sources")]
    return RegressionTask(model, 3, *chosen, STILL, {"seed": 3})


def run(made, folder, steps=3, **more):
    return train(made, Plan(steps, 2, validate_every=steps, **more), 3, folder, Stop(None))


def test_a_painted_sample_has_the_ct_that_it_was_painted_from_as_its_answer(parts):
    made = task(parts, "targets")
    targets, painter = parts()["targets"], Painter(made.model)
    found = painter(targets, 4, np.random.default_rng(1), moved=False)
    item = targets.item(4)
    inside = item["body"] > 0
    np.testing.assert_allclose(found["target"][inside], item["image"][inside], atol=1e-6)
    assert (found["target"][~inside] == -1).all()
    assert np.abs(found["image"][inside] - item["image"][inside]).mean() > 0.1
    again = painter(targets, 4, np.random.default_rng(1), moved=False)
    other = painter(targets, 4, np.random.default_rng(2), moved=False)
    assert found["image"].tobytes() == again["image"].tobytes()
    assert found["image"].tobytes() != other["image"].tobytes()


def test_samples_depend_on_seed_and_number_alone(parts):
    one, again = task(parts, "targets").sample(4), task(parts, "targets").sample(4)
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["image"], task(parts, "targets").sample(5)["image"])


def test_neighbours_and_contrasts_are_channels(parts):
    made = task(parts, "targets", context=1, also=["opposed"])
    found = made.sample(0)
    assert found["image"].shape == (6, 16, 16)
    assert found["target"].shape == (1, 16, 16)
    first, second = found["image"][1], found["image"][4]
    inside = found["body"][0] > 0
    assert (first - second)[inside].abs().mean() > 0.05  # each contrast is drawn for itself
    assert made.networks()["generator"](found["image"][None]).shape == (1, 1, 16, 16)


def test_with_some_pairs_every_second_sample_is_one(parts):
    made = task(parts, "targets", "pairs", pairs=1)
    pairs = parts()["pairs"]
    real = [pairs.item(k)["image"] for k in range(len(pairs))]
    for index in range(6):
        image = made.sample(index)["image"].numpy()
        assert any(np.array_equal(image, r) for r in real) == (index % 2 == 1)


def test_every_mode_makes_steps(parts, tmp_path):
    plain = run(task(parts, "targets", bone=2.0, edges=1.0), tmp_path / "a")
    assert np.isfinite([r["l1"] for r in plain.history]).all()
    pix2pix = run(task(parts, "pairs", method="paired", discriminator=JUDGE, adversarial=0.01), tmp_path / "b")
    assert {"l1", "adversarial", "judge"} <= set(pix2pix.history[-1])
    supervised = run(task(parts, "pairs", method="paired", discriminator=None), tmp_path / "c")
    assert "judge" not in supervised.history[-1]


def test_consistency_begins_in_the_last_third(parts, tmp_path):
    done = train(
        task(parts, "targets", "sources", consistency=1.0), Plan(6, 1, validate_every=1), 3, tmp_path, Stop(None)
    )
    assert ["consistency" in r for r in done.history] == [False] * 4 + [True] * 2


def test_the_error_falls(parts, tmp_path):
    made = task(parts, "targets", training={"rate": 5e-3})
    done = train(made, Plan(60, 2, validate_every=20), 3, tmp_path, Stop(None))
    assert done.history[-1]["l1"] < 0.75 * done.history[0]["l1"]


class Answer(torch.nn.Module):
    """A generator that gives known images in the order of its calls."""

    def __init__(self, images):
        super().__init__()
        self.images, self.at = images, 0

    def forward(self, x):
        found = self.images[self.at : self.at + len(x)]
        self.at = (self.at + len(x)) % len(self.images)
        return found


def test_by_structure_the_truth_wins_over_a_copy_of_the_source_and_over_a_constant(parts):
    judge = PairJudge(settings(), parts()["pairs"], "structure")
    cpu = torch.device("cpu")
    scores = {
        name: judge(Answer(images), cpu)["score"]
        for name, images in (
            ("truth", judge.targets),
            ("copy", judge.images),
            ("constant", torch.zeros_like(judge.targets)),
        )
    }
    assert scores["truth"] == 0
    assert scores["copy"] < -0.1
    assert scores["constant"] < -0.1


def test_by_pairs_the_score_is_the_error_in_hu(parts):
    judge = PairJudge(settings(), parts()["pairs"], "pairs")
    apart = torch.zeros_like(judge.targets) + 100 / 1200
    found = judge(Answer(judge.targets + apart), torch.device("cpu"))
    assert found["mae"] == pytest.approx(100, rel=1e-3)
    assert found["score"] == -found["mae"]


def test_painted_validation_is_the_same_at_every_look(parts):
    judge, again = (PaintedJudge(settings(), parts()["targets"], 3) for _ in range(2))
    assert torch.equal(judge.images, again.images)
    assert judge(Answer(judge.targets), torch.device("cpu")) == {"score": 0, "painted_mae": 0}
