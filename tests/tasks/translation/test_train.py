"""Whole trainings on the cohort of heads: folders of models, what they say of themselves, and what they refuse."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import save
from tests.study.cohorts import AFFINE
from tests.tasks.translation.made import RECIPE, chest, cohort, head, settings
from volforge.errors import VolforgeError
from volforge.study.jobs import TrainJob
from volforge.tasks.translation.generator import make_generator, read_weights
from volforge.tasks.translation.settings import TranslationSettings
from volforge.tasks.translation.train import Lesson, train_translation
from volforge.training.start import read_start

UNET = {"name": "shape_unet", "width": 2}


def job_in(folder, scans, **more):
    return TrainJob(scans, 0, 0, folder / "checkpoints", folder / "model", **more)


def trained(model, folder, scans, **more):
    assert train_translation(model, job_in(folder, scans, **more)) == ""
    return folder / "model"


@pytest.fixture(scope="module")
def extractor(heads, tmp_path_factory):
    plan = {"steps": 60, "rate": 1e-2, "validate_every": 30}
    return trained(settings("shape_extractor", plan, UNET), tmp_path_factory.mktemp("extractor"), heads)


@pytest.fixture(scope="module")
def cycle(heads, tmp_path_factory):
    return trained(settings(method="cycle"), tmp_path_factory.mktemp("cycle"), heads)


def test_a_model_says_what_it_was_made_of(heads, cycle):
    about = json.loads((cycle / "model.json").read_text())
    names = set(TranslationSettings.__dataclass_fields__)
    made = TranslationSettings.of({k: v for k, v in about.items() if k in names})
    assert made == settings(method="cycle")
    assert not set(about["subjects"]["source"]) & set(about["subjects"]["target"])
    assert about["selection"] == "the last weights"
    assert set(about["parameters_of"]) == {"generator", "back", "target_judge", "source_judge"}
    network = make_generator(made)
    network.load_state_dict(load_file(cycle / "weights.safetensors"))
    assert about["parameters"] == sum(p.numel() for p in network.parameters())
    assert about["multiply_adds"] > 0
    assert about["import"] == {"background": "air", "body_mask": {}}
    assert (cycle / "history.tsv").read_text().startswith("step\t")
    assert (cycle / "cost.json").exists()


def test_a_painted_training_reads_no_mr(heads, tmp_path, monkeypatch):
    from volforge.tasks.translation import slices

    opened = []
    store = slices.SliceStore

    def spy(folder):
        opened.append(folder.name)
        return store(folder)

    monkeypatch.setattr(slices, "SliceStore", spy)
    folder = trained(settings(select="painted"), tmp_path, heads)
    assert opened
    assert all(name.endswith("-ct") for name in opened)
    about = json.loads((folder / "model.json").read_text())
    assert about["selection"] == "selected by painted MR"
    assert about["expected"]["score"] < 0
    assert about["subjects"]["pairs"] == []


def test_weights_that_pairs_chose_say_so(heads, tmp_path):
    about = json.loads(
        (trained(settings(method="one_way", select="structure"), tmp_path, heads) / "model.json").read_text()
    )
    assert about["selection"] == "unpaired, selected with 1 pairs"
    assert {"gradient_distance", "mind_distance", "information_distance", "mae", "score"} <= set(about["expected"])


def test_the_shape_extractor_finds_bodies_and_serves_the_loss_of_shape(heads, extractor, tmp_path):
    about, weights = read_weights(extractor)
    assert about["kind"] == "shape_extractor"
    assert about["expected"]["dice"] > 0.9
    model = settings(method="cycle", shape=10.0, needs=["shared/outline"])
    folder = trained(model, tmp_path, heads, needs={"shared/outline": extractor})
    assert "shape" in (folder / "history.tsv").read_text().splitlines()[0]
    with pytest.raises(VolforgeError, match="needs the shape extractor"):
        Lesson(model, job_in(tmp_path / "b", heads))


def test_filled_lungs_are_body_to_the_shape_extractor(tmp_path):
    """Air in the body, and the same place filled, give one outline: no loss of shape sees that lungs were filled."""
    from volforge.study.cases import Cohort
    from volforge.tasks.translation.slices import SliceSet

    scans = cohort(tmp_path / "chests", chest)
    plan = {"steps": 150, "rate": 1e-2, "validate_every": 50}
    about, weights = read_weights(trained(settings("shape_extractor", plan, UNET), tmp_path, scans))
    names = set(TranslationSettings.__dataclass_fields__)
    network = make_generator(TranslationSettings.of({k: v for k, v in about.items() if k in names}))
    network.load_state_dict(weights)
    network.eval()
    rows = [r for r in Cohort(scans).rows if r["scan"] == "s7-ct"]
    item = SliceSet(scans.parent / "recipes" / "slices", rows).item(5)
    image, body = torch.from_numpy(item["image"])[None], torch.from_numpy(item["body"])[None] > 0
    low, high = RECIPE.ct_window.low, RECIPE.ct_window.high
    lungs = body & (image < (-500 - low) / (high - low) * 2 - 1)
    filled = torch.where(lungs, torch.tensor((40 - low) / (high - low) * 2 - 1), image)
    assert 0.1 < float(lungs.sum()) / float(body.sum()) < 0.5
    with torch.no_grad():
        as_it_is, as_filled = (network(i.float()) > 0 for i in (image, filled))
    for found in (as_it_is, as_filled):
        assert float((found & body).sum()) * 2 / float(found.sum() + body.sum()) > 0.9
        assert float((found & lungs).sum()) / float(lungs.sum()) > 0.9


def test_a_training_starts_from_the_generator_of_another_model(heads, cycle, tmp_path):
    word = "s/cyclegan/axial"
    model = settings(method="cycle", correlation=2.0, start=word, needs=[word])
    lesson = Lesson(model, job_in(tmp_path, heads, needs={word: cycle}))
    own, given = lesson.task.networks()["generator"].state_dict(), load_file(cycle / "weights.safetensors")
    assert all(torch.equal(own[k], given[k]) for k in given)
    other = replace(model, network={"name": "resnet_generator", "width": 3, "blocks": 1})
    with pytest.raises(VolforgeError, match="cannot start from 's/cyclegan/axial': its network is"):
        Lesson(other, job_in(tmp_path, heads, needs={word: cycle}))


def test_other_slices_than_the_extractors_are_refused(heads, extractor, tmp_path):
    wide = settings(method="cycle", shape=10.0)
    wide = replace(
        wide, recipe_settings={**wide.recipe_settings, "ct_window": {"kind": "hu", "low": -1000, "high": 1800}}
    )
    with pytest.raises(VolforgeError, match="the shape extractor sees HU from"):
        Lesson(wide, job_in(tmp_path, heads, needs={"shared/outline": extractor}))
    fine = settings(method="cycle", shape=10.0)
    fine = replace(fine, recipe_settings={**fine.recipe_settings, "spacing_mm": 1.5})
    with pytest.raises(VolforgeError, match=r"saw slices of spacing_mm 3\.0, the model sees 1\.5"):
        Lesson(fine, job_in(tmp_path, heads, needs={"shared/outline": extractor}))


def test_what_chooses_the_weights_must_be_there(heads, tmp_path):
    none = {"validation": 0.0}
    with pytest.raises(VolforgeError, match="no validation subject has a pair"):
        Lesson(settings(method="cycle", select="structure", training=none), job_in(tmp_path, heads))


def test_the_same_training_gives_the_same_bytes(heads, tmp_path):
    made = [trained(settings(context=1), tmp_path / n, heads) for n in "ab"]
    assert made[0].joinpath("weights.safetensors").read_bytes() == made[1].joinpath("weights.safetensors").read_bytes()


def test_further_contrasts_of_a_frame_are_channels_from_training_to_prediction(tmp_path):
    """Two contrasts of each sitting, as of a Dixon scan: the model learns from both, and needs both."""
    from tests.conftest import save
    from tests.study.cohorts import AFFINE, arm, imported, predict
    from tests.tasks.translation.made import RECIPE, head
    from volforge.volume.cut_scan import cut_scan

    lines = ["subject\tscan\tmodality\tcontrast\tunit\tframe\timage\tsplit"]
    for i in range(4):
        kinds = [("ct", "CT", "", "hu")] if i == 0 else []
        kinds += [(c, "MR", c, "arbitrary") for c in ("in_phase", "opposed")] if i else []
        kinds += [("ct", "CT", "", "hu")] if i == 3 else []
        for name, modality, contrast, unit in kinds:
            image = head(13 + i, 7 * i + len(contrast), modality)
            save(tmp_path / f"s{i}-{name}.nii.gz", image // (2 if contrast == "opposed" else 1), AFFINE)
            row = (f"p{i}", f"s{i}-{name}", modality, contrast, unit, f"f{i}", f"s{i}-{name}.nii.gz")
            lines.append("\t".join([*row, "test" if i == 3 else "train"]))
    scans = imported(tmp_path, lines, {})
    for scan in (scans.parent / "scans").iterdir():
        cut_scan(scan, RECIPE, scans.parent / "recipes" / "slices" / scan.name)
    source = {"modality": "MR", "contrast": "in_phase"}
    training = {"validation": 0.0}
    model = replace(settings(method="cycle", also=["opposed"], context=1, training=training), source=source)
    folder = trained(model, tmp_path / "model", scans)
    about = json.loads((folder / "model.json").read_text())
    assert about["channels"] == 6
    assert about["subjects"]["source"] == ["p1", "p2"]
    own = arm(tmp_path, task="translation", structures=[], source=source, fuse="median", doubt=None,
              inference={"threads": 1, "flips": []})  # fmt: skip
    assert predict(own, scans, 0, tmp_path / "predictions", models={"axial": folder}) == 1
    assert (tmp_path / "predictions/s3-in_phase.nii.gz").exists()


def test_an_unpaired_training_refuses_a_start_that_saw_pairs_or_the_other_side(heads, cycle, tmp_path):
    word = "s/other/axial"
    paired = trained(settings(method="paired", network=None), tmp_path / "p", heads)
    model = settings(method="cycle", start=word, needs=[word])
    with pytest.raises(VolforgeError, match="'s/other/axial' saw registered pairs of p"):
        Lesson(model, job_in(tmp_path / "a", heads, needs={word: paired}))
    about = json.loads((cycle / "model.json").read_text())
    sources = about["subjects"]["source"]
    crossed = tmp_path / "crossed"
    crossed.mkdir()
    about["subjects"]["target"] = sources[:1]
    (crossed / "model.json").write_text(json.dumps(about))
    (crossed / "weights.safetensors").write_bytes((cycle / "weights.safetensors").read_bytes())
    with pytest.raises(VolforgeError, match=f"saw the other side of {sources[0]}"):
        Lesson(model, job_in(tmp_path / "b", heads, needs={word: crossed}))


def test_slices_that_a_network_cannot_halve_are_named_before_anything_runs(heads, tmp_path):
    with pytest.raises(VolforgeError, match=r"wants sides that are multiples of 32, .* slices are 16 x 16"):
        Lesson(settings(network={"name": "image_unet", "width": 2, "levels": 6}), job_in(tmp_path, heads))


def about_of(folder):
    return json.loads((folder / "model.json").read_text())


def test_what_a_start_saw_and_was_chosen_by_is_said_of_what_comes_of_it(heads, tmp_path):
    chosen = trained(settings(method="painted", select="pairs", training={"which": "best"}), tmp_path / "chosen", heads)
    word = "s/chosen/axial"
    model = trained(settings(start=word, needs=[word]), tmp_path / "next", heads, needs={word: chosen})
    about = about_of(model)
    assert about["selection"] == "the last weights; begun with weights: selected by the error on 1 pairs"
    assert about["needed"][word]["sha256"] == about_of(chosen)["sha256"]
    assert "p6" in about["needed"][word]["subjects"]["validation"]
    third = "s/next/axial"
    last = trained(settings(start=third, needs=[third]), tmp_path / "last", heads, needs={third: model})
    assert "p6" in about_of(last)["needed"][third]["subjects"]["validation"]
    assert "p6" in read_start(last).seen["c"]
    assert "selected by the error on 1 pairs" in about_of(last)["selection"]


def test_a_start_that_saw_other_pairs_or_more_targets_is_refused(heads, tmp_path):
    word = "s/other/axial"
    paired = trained(settings(method="paired"), tmp_path / "paired", heads)
    with pytest.raises(VolforgeError, match=r"saw registered pairs of .* which this training must not see"):
        Lesson(settings(pairs=1, start=word, needs=[word]), job_in(tmp_path, heads, needs={word: paired}))
    Lesson(settings(method="paired", start=word, needs=[word]), job_in(tmp_path, heads, needs={word: paired}))
    painted = trained(settings(), tmp_path / "painted", heads)
    with pytest.raises(VolforgeError, match=r"saw targets of .* which this training must not see"):
        Lesson(settings(targets=1, start=word, needs=[word]), job_in(tmp_path, heads, needs={word: painted}))


def test_subjects_whose_ct_chose_the_weights_are_among_those_seen(heads, tmp_path):
    model = trained(settings(select="painted", training={"which": "best"}), tmp_path, heads)
    assert about_of(model)["subjects"]["validation"] == ["p6"]
    assert about_of(model)["selection"] == "selected by painted MR"


def test_weights_of_a_step_are_called_so(heads, tmp_path):
    about = about_of(trained(settings(training={"which": 2}), tmp_path, heads))
    assert (about["selection"], about["step"]) == ("the weights of step 2", 2)


def test_a_number_of_targets_counts_scans_that_were_cut(tmp_path):
    scans = cohort(tmp_path / "heads")
    refused = scans.parent / "recipes" / "slices" / "s3-ct" / "record.json"
    refused.write_text(json.dumps({"accepted": False, "scan": "s3-ct", "refused": {"reason": "blank", "where": ""}}))
    for count in (1, 2, 3):
        for seed in range(5):
            lesson = Lesson(settings(method="cycle", targets=count), replace(job_in(tmp_path, scans), seed=seed))
            assert lesson.task.targets.subjects == lesson.subjects["target"]
            assert len(lesson.subjects["target"]) == count


def test_a_row_without_an_image_is_nobody_s_partner(tmp_path):
    scans = cohort(tmp_path / "heads")
    (scans.parent / "scans" / "s9-ct" / "image.nii.gz").unlink()
    assert Lesson(settings(method="paired"), job_in(tmp_path, scans)).subjects["pairs"] == ["p10", "p11"]


def test_another_body_of_a_partner_is_other_data(tmp_path):
    scans = cohort(tmp_path / "heads")
    before = Lesson(settings(method="paired"), job_in(tmp_path, scans)).task.settings["data"]
    assert Lesson(settings(method="paired"), job_in(tmp_path, scans)).task.settings["data"] == before
    save(scans.parent / "scans" / "s9-ct" / "image.nii.gz", head(10, 3), AFFINE)
    assert Lesson(settings(method="paired"), job_in(tmp_path, scans)).task.settings["data"] != before
