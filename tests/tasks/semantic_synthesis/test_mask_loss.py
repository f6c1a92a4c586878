"""Arms with and without the mask loss side by side: who is a pair, what is counted, what the picture shows."""

import json

import numpy as np
import pytest
import yaml

from tests.tasks.semantic_synthesis.test_checks import BODY, RECIPE
from volforge.study.case_picture import TOO_MUCH
from volforge.study.volumes import Volumes
from volforge.tasks.semantic_synthesis.mask_loss import outside_error, strips_of_pairs
from volforge.workflow.run import load_run
from volforge.workflow.study_settings import measure_settings

N = 24


def pairs_of(folder, **arms):
    model = {"network": "oasis_generator", "recipe": "r"}
    every = {n: {"models": {"image": {**model, **more}}} for n, more in arms.items()}
    content = {
        "cohorts": {"body": BODY}, "recipes": {"r": RECIPE},
        "studies": {"paint": {
            "task": "semantic_synthesis", "cohort": "body",
            "arms": {"mean": {"baseline": "mean_painting"}, **every},
        }},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    run = load_run([folder / "config.yaml"], None)
    assert run.problems == []
    return json.loads(measure_settings(run.studies["paint"], "mean", {}))["metrics"].get("mask_pairs")


def test_a_pair_differs_by_the_mask_loss_alone(tmp_path):
    without, with_ = {"synthesis": {"outline": 0}}, {"synthesis": {"outline": 0.5}}
    other = {"synthesis": {"outline": 0.5, "segment": 2}}
    assert pairs_of(tmp_path, a=without, b=with_, c=other) == [["a", "b"]]
    assert pairs_of(tmp_path, b=with_, c=other) is None


def case(light):
    body = np.zeros((N, N, 8), bool)
    body[6:18, 6:18] = True
    image = np.where(body, 40, -1024).astype(np.int16)
    image[:4] += np.int16(light)
    reference = np.where(body, 50, -1024).astype(np.int16)
    return Volumes(body.astype(np.uint8), image, reference, body, body, None, (2.0, 2.0, 2.0))


def test_the_error_is_the_mean_of_what_is_brighter_than_air():
    volumes = case(240)
    beyond = N * N - 12 * 12
    assert outside_error(volumes.prediction, volumes.body, -1024) == pytest.approx(240 * 4 * N / beyond)
    broken = volumes.prediction.astype(np.float32)
    broken[0, 0, 0] = np.nan
    assert np.isfinite(outside_error(broken, volumes.body, -1024))
    assert outside_error(case(-10).prediction, volumes.body, -1024) == 0
    assert np.isnan(outside_error(broken, np.ones_like(volumes.body), -1024))


def test_both_arms_show_the_same_map_and_light_outside_in_orange():
    pairs = [["a", "b"], ["a", "c"]]
    dark, light = (
        strips_of_pairs(pairs, n, "s1", case(v), {1: (90, 90, 200)}, True) for n, v in (("b", 0), ("a", 400))
    )
    assert len(dark) == 3
    assert len(light) == 6  # it has a part in both
    assert [s.place for s, _ in dark] == ["first", "arm", "last"]
    assert dark[0][0].title == light[0][0].title == "The mask loss: a without, b with"
    assert dark[0][0].caption == light[0][0].caption
    assert dark[1][0].label == "b: 0 HU outside"
    assert light[1][0].label == "a: 88.9 HU outside"
    assert len({p.shape for _, p in (*dark, *light)}) == 1

    def orange(picture):
        return ((picture.astype(int) - np.array(TOO_MUCH) * 0.7).clip(0) < 90).all(axis=2) & (picture[..., 0] > 120)

    assert orange(light[1][1]).sum() > 3 * orange(dark[1][1]).sum()
    assert strips_of_pairs(pairs, "z", "s1", case(0), {}, True) == []
    percent = strips_of_pairs(pairs, "b", "s1", case(0), {}, False)
    assert percent[1][0].label.endswith("% outside")
