"""`volforge measure` and `volforge weights`: every command that docs/measures.md prints, and mistakes with them."""

import csv
import hashlib
import json
import shlex
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from tests.conftest import ROOT, ball_ct, save, volforge
from tests.volume.test_seg_nrrd import write_segments
from volforge import weights
from volforge.cli import main
from volforge.judging.slice_encoder import write_slice_encoder
from volforge.networks.inception import FidInception
from volforge.networks.slice_encoder import SliceEncoder

COMMANDS = [
    line
    for line in (ROOT / "docs/measures.md").read_text(encoding="utf-8").splitlines()
    if line.startswith(("volforge measure", "volforge weights"))
]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """The command line in this process: exit status, what it prints, what it complains of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("VOLFORGE_WEIGHTS", str(tmp_path / "cache"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["volforge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def nrrd(path, array):
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0).astype(np.uint8))
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(path))


def register(monkeypatch, path, name="inception"):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = replace(weights.REGISTRY[name], sha256=sha256, url=path.as_uri())
    monkeypatch.setitem(weights.REGISTRY, name, entry)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the page names, small."""
    ball = ball_ct() > 0
    labels = ball.astype(np.uint8)
    labels[20:][ball[20:]] = 2
    moved = np.roll(labels, 1, axis=0)
    save(tmp_path / "reference.nii.gz", labels)
    save(tmp_path / "prediction.nii.gz", moved)
    for name in ("a", "b"):
        save(tmp_path / "references" / f"{name}.nii.gz", labels)
        save(tmp_path / "predictions" / f"{name}.nii.gz", moved if name == "a" else labels)
    nrrd(tmp_path / "implant.nrrd", moved == 1)
    nrrd(tmp_path / "true_implant.nrrd", labels == 1)
    nrrd(tmp_path / "defective.nrrd", labels == 2)
    save(tmp_path / "ct.nii.gz", ball_ct())
    save(tmp_path / "synthetic_ct.nii.gz", ball_ct() + 10 * ball.astype(np.int16))
    save(tmp_path / "body.nii.gz", ball.astype(np.uint8))
    for name in ("synthetic", "real"):
        for k in range(2):
            save(tmp_path / name / f"{k}.nii.gz", ball_ct(radius=9 + k + 2 * (name == "real")))
    (tmp_path / "encoder").mkdir()
    torch.manual_seed(0)
    write_slice_encoder(tmp_path / "encoder", SliceEncoder(), {}, [1.0])
    torch.save({"stands": torch.ones(1)}, tmp_path / "published.pth")
    register(monkeypatch, tmp_path / "published.pth")
    return tmp_path


def test_the_page_prints_commands():
    assert len(COMMANDS) == 6


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_work_as_printed(run, files, line):
    code, out, err = run(*shlex.split(line)[1:])
    assert code == 0, err
    assert out.strip()


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_overlap_of_folders_writes_every_case_structure_and_tolerance(run, files):
    line = next(c for c in COMMANDS if "overlap.tsv" in c)
    code, out, err = run(*shlex.split(line)[1:])
    assert code == 0, err
    assert "2 cases" in out
    found = {(r["case"], r["structure"], r["measure"]): r for r in rows(files / "overlap.tsv")}
    assert {k[:2] for k in found} == {(c, s) for c in "ab" for s in ("liver", "spleen")}
    assert {"nsd_1mm", "nsd_3mm"} <= {k[2] for k in found}
    assert float(found["b", "liver", "dice"]["value"]) == 1
    assert float(found["b", "liver", "hd_mm"]["value"]) == 0
    assert 0 < float(found["a", "liver", "dice"]["value"]) < 1
    assert float(found["a", "liver", "hd_mm"]["value"]) == pytest.approx(2)  # one voxel of 2 mm


def test_boundary_dice_is_near_the_defective_skull(run, files):
    _, out, _ = run("measure", "overlap", "implant.nrrd", "true_implant.nrrd", "--boundary", "defective.nrrd")
    assert "boundary_dice_10mm" in out


def test_image_measures_are_those_of_the_mask(run, files):
    line = next(c for c in COMMANDS if "image.json" in c)
    assert run(*shlex.split(line)[1:])[0] == 0
    found = {(r["structure"], r["measure"]): r["value"] for r in json.loads((files / "image.json").read_text())}
    assert found["mask", "mae_hu"] == pytest.approx(10)
    assert found["mask", "rmse_hu"] == pytest.approx(10)


def test_axis_order_and_flips_do_not_matter_and_another_grid_is_an_error(run, files):
    image = nib.load(files / "prediction.nii.gz")
    turned = image.as_reoriented(
        nib.io_orientation(np.array([[0, 0, -2, 0], [-2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]))
    )
    nib.save(turned, files / "turned.nii.gz")
    for name in ("prediction", "turned"):
        assert run("measure", "overlap", f"{name}.nii.gz", "reference.nii.gz", "-o", f"{name}.tsv")[0] == 0
    values = [[r["value"] for r in rows(files / f"{name}.tsv")] for name in ("prediction", "turned")]
    assert values[0] == values[1]
    save(files / "other.nii.gz", np.asarray(image.dataobj), np.diag([1.0, 2, 2, 1]))
    code, _, err = run("measure", "overlap", "other.nii.gz", "reference.nii.gz")
    assert code == 1
    assert "not on the grid of reference.nii.gz" in err


def test_distances_of_slices_carry_the_networks_name_and_say_how_few_there_are(run, files):
    line = next(c for c in COMMANDS if "encoder/weights" in c)
    code, out, err = run(*shlex.split(line)[1:], "-o", "d.json")
    assert code == 0
    found = {r["measure"]: r for r in json.loads((files / "d.json").read_text())}
    kinds = [f"{k}_slice_encoder" for k in ("frechet", "kernel", "mmd")]
    assert list(found) == [*kinds, "frechet_slice_encoder_floor"]
    assert found[kinds[0]]["value"] > 0
    assert "fid" not in out
    assert "biased upwards" in err
    assert hashlib.sha256((files / "encoder/weights.safetensors").read_bytes()).hexdigest() in err
    code, _, _ = run(
        "measure", "distribution", "real/", "real/", "--network", "encoder/weights.safetensors", "-o", "e.tsv"
    )
    same = {r["measure"]: float(r["value"]) for r in rows(files / "e.tsv")}
    assert same[kinds[0]] == pytest.approx(0, abs=1e-6)


def test_fid_of_pictures_once_the_weights_are_here(run, files, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("pictures", "others"):
        (files / name).mkdir()
        for k in range(2):
            Image.fromarray(rng.integers(0, 255, (20, 30), np.uint8)).save(files / name / f"{k}.png")
    code, _, err = run("measure", "distribution", "pictures", "others")
    assert code == 1
    assert "volforge weights fetch inception" in err
    torch.save(FidInception().state_dict(), files / "inception.pth")
    register(monkeypatch, files / "inception.pth")
    assert run("weights", "fetch", "inception", "--from", "inception.pth")[0] == 0
    code, out, err = run("measure", "distribution", "pictures", "others")
    assert code == 0, err
    assert {"fid", "kid", "mmd_inception"} <= set(out.split())


def test_weights_are_taken_from_the_known_file_only(run, files):
    (files / "wrong.pth").write_bytes(b"something else")
    code, out, err = run("weights", "fetch", "inception", "--from", "wrong.pth")
    assert (code, out) == (1, "")
    assert "not the weights `inception`" in err
    assert "not fetched" in run("weights", "list")[1]
    code, out, _ = run("weights", "fetch", "inception", "--from", "published.pth")
    assert code == 0
    assert out.strip() == str(weights.cached("inception"))
    code, out, _ = run("weights", "list")
    assert str(weights.cached("inception")) in out
    assert out.count("not fetched") == 1  # alexnet


def test_a_real_process_refuses_a_wrong_file_without_a_traceback(tmp_path):
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"something else")
    done = volforge(
        "weights", "fetch", "alexnet", "--from", wrong, cwd=tmp_path, env={"VOLFORGE_WEIGHTS": str(tmp_path / "w")}
    )
    assert done.returncode == 1
    assert "not the weights `alexnet`" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "w").iterdir()) == []


OVERLAP = ("overlap", "prediction.nii.gz", "reference.nii.gz")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("overlap", "missing.nii.gz", "reference.nii.gz"), "not found"),
        (("overlap", "predictions", "reference.nii.gz"), "one is a folder and one a file"),
        (("overlap", "predictions", "references", "--structures", "liver"), "no structures can be read"),
        (("overlap", "predictions", "real"), "no two volumes have the same name"),
        (("overlap", "predictions/a.nii.gz", "references/a.nii.gz", "-o", "x.csv"), "use .tsv or .json"),
        (("image", "predictions", "references", "--mask", "real"), "no mask is called 'a'"),
        ((*OVERLAP, "--structures", "liver=0"), "'0' is no id of 'liver'"),
        ((*OVERLAP, "--structures", "liver=-1"), "'-1' is no id of 'liver'"),
        ((*OVERLAP, "--structures", "liver=1.5"), "'1.5' is no id of 'liver'"),
        ((*OVERLAP, "--structures", "liver=1,liver=2"), "liver=2: the name or the id stands twice"),
        ((*OVERLAP, "--structures", ""), "a name and an id are needed"),
        ((*OVERLAP, "--structures", "zero.tsv"), "zero.tsv: line 2: '0' is no id of 'liver'"),
        ((*OVERLAP, "--structures", "ragged.tsv"), "ragged.tsv: no structures can be read: line 2: a name and an id"),
        ((*OVERLAP, "--tolerance", "1", "--tolerance", "1.0"), "--tolerance: one tolerance stands twice: 1, 1"),
        ((*OVERLAP, "--tolerance", "nan"), "--tolerance: nan is no length"),
        ((*OVERLAP, "--tolerance", "-1"), "--tolerance: -1 is no length"),
        ((*OVERLAP, "--boundary", "prediction.nii.gz", "--boundary-mm", "nan"), "--boundary-mm: nan is no length"),
        (
            (*OVERLAP, "--boundary", "nan.nii.gz"),
            "nan.nii.gz: 1 voxels are not finite (NaN or infinity), the first at (2",
        ),
        ((*OVERLAP, "-o", "ct.nii.gz/x.tsv"), "ct.nii.gz is a file, not a folder"),
        (("overlap", "prediction.nii.gz", "nan.nii.gz"), "nan.nii.gz: 1 voxels are not finite"),
        (("image", "ct.nii.gz", "ct.nii.gz", "--no-hu"), "--low, --high: images that are not in HU have no range"),
        (
            ("image", "ct.nii.gz", "nan.nii.gz", "--no-hu", "--low", "0", "--high", "9"),
            "nan.nii.gz: 1 voxels are not finite (NaN or infinity), the",
        ),
        (("image", "ct.nii.gz", "inf.nii.gz"), "inf.nii.gz: 1 voxels are not finite (NaN or infinity) inside the body"),
        (("image", "ct.nii.gz", "empty.nii.gz"), "empty.nii.gz: 48000 voxels are not finite"),
        (("image", "ct.nii.gz", "ct.nii.gz", "--mask", "nan.nii.gz"), "nan.nii.gz: 1 voxels are not finite"),
        (
            ("image", "ct.nii.gz", "ct.nii.gz", "--high", "inf"),
            "--low, --high: the range -1024 to inf is empty or has no",
        ),
        (("distribution", "real", "real", "--low", "nan"), "--low, --high: the range nan to 1000 is empty"),
        (("distribution", "encoder", "real", "--network", "encoder/weights.safetensors"), "no pictures and no volumes"),
        (("distribution", "real", "real", "--network", "missing.safetensors"), "file not found"),
    ],
)
def test_mistakes_get_words(run, files, arguments, words):
    for name, where, value in (("nan", (1, 1, 1), np.nan), ("inf", (20, 20, 15), np.inf), ("empty", ..., np.nan)):
        values = ball_ct().astype(np.float32)
        values[where] = value
        save(files / f"{name}.nii.gz", values)
    (files / "zero.tsv").write_text("structure\tid\nliver\t0\n")
    (files / "ragged.tsv").write_text("structure\tid\nliver\n")
    code, _, err = run("measure", *arguments)
    assert code == 1
    assert words in err


def test_a_reference_without_a_prediction_is_an_error(run, files):
    (files / "predictions/b.nii.gz").unlink()
    code, _, err = run("measure", "overlap", "predictions", "references")
    assert code == 1
    assert "1 references have no prediction: b" in err


def test_a_structure_has_one_name_in_all_cases(run, files):
    save(files / "references/b.nii.gz", np.where(ball_ct() > 0, 2, 0).astype(np.uint8))
    save(files / "predictions/b.nii.gz", np.where(ball_ct() > 0, 2, 0).astype(np.uint8))
    assert run("measure", "overlap", "predictions", "references", "-o", "x.tsv")[0] == 0
    assert {r["structure"] for r in rows(files / "x.tsv")} == {"1", "2"}


def test_segments_are_compared_by_their_names(run, files):
    """Two annotators, who drew the same two structures in another order."""
    labels = np.asanyarray(nib.load(files / "reference.nii.gz").dataobj)
    for folder, order in (("one", ("left", "right")), ("two", ("right", "left"))):
        values = np.choose(labels, [0, 1 + order.index("left"), 1 + order.index("right")]).astype(np.uint8)
        (files / folder).mkdir()
        segments = [(name, k, 0) for k, name in enumerate(order, start=1)]
        write_segments(files / f"{folder}/a.seg.nrrd", [values], segments, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert run("measure", "overlap", "one", "two", "-o", "x.tsv")[0] == 0
    dice = {r["structure"]: r["value"] for r in rows(files / "x.tsv") if r["measure"] == "dice"}
    assert dice == {"left": "1", "right": "1"}
    save(files / "numbered/a.nii.gz", labels)
    code, _, err = run("measure", "overlap", "numbered", "two")
    assert (code, "other maps have ids alone" in err, "--structures right=1,left=2" in err) == (1, True, True)
    given = ("measure", "overlap", "numbered", "two", "--structures", "left=1,right=2", "-o", "y.tsv")
    assert run(*given)[0] == 0
    assert {r["value"] for r in rows(files / "y.tsv") if r["measure"] == "dice"} == {"1"}
    code, _, err = run("measure", "overlap", "numbered", "two", "--structures", "left=1,rihgt=2")
    assert (code, "no structure is named after: 'right' (value 1)" in err) == (1, True)


def test_names_of_segments_in_signs_and_other_scripts_are_measured(run, files):
    labels = np.asanyarray(nib.load(files / "reference.nii.gz").dataobj).astype(np.uint8)
    for name, numbers in (("a", (1, 2)), ("b", (2, 1))):
        segments = [(n, v, 0) for n, v in zip(("PTV-", "\u4e0b\u984e\u9aa8"), numbers, strict=True)]
        values = np.choose(labels, [0, *numbers]).astype(np.uint8)
        write_segments(files / f"{name}.seg.nrrd", [values], segments, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert run("measure", "overlap", "a.seg.nrrd", "b.seg.nrrd", "-o", "x.tsv")[0] == 0
    dice = {r["structure"]: r["value"] for r in rows(files / "x.tsv") if r["measure"] == "dice"}
    assert dice == {"ptv_minus": "1", "\u4e0b\u984e\u9aa8": "1"}


def test_cropped_segments_are_compared_where_they_lie(run, files):
    """3D Slicer crops its files: each annotator's has other corners, and both lie within the image's grid."""
    labels = np.asanyarray(nib.load(files / "reference.nii.gz").dataobj)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    moved = np.roll(labels, 3, axis=0)
    for name, array, low, high in (("a", labels, (5, 5, 2), (34, 35, 28)), ("b", moved, (9, 6, 1), (38, 36, 29))):
        box = tuple(slice(i, j) for i, j in zip(low, high, strict=True))
        write_segments(files / f"{name}.seg.nrrd", [array[box]], [("left", 1, 0), ("right", 2, 0)], affine, low)
    save(files / "moved.nii.gz", moved)
    assert run("measure", "overlap", "moved.nii.gz", "reference.nii.gz", "-o", "whole.tsv")[0] == 0
    wanted = [r["value"] for r in rows(files / "whole.tsv") if r["measure"] in ("dice", "hd95_mm")]
    for pair in (("b.seg.nrrd", "a.seg.nrrd"), ("moved.nii.gz", "a.seg.nrrd"), ("b.seg.nrrd", "reference.nii.gz")):
        assert run("measure", "overlap", *pair, "--structures", "left=1,right=2", "-o", "x.tsv")[0] == 0
        assert [r["value"] for r in rows(files / "x.tsv") if r["measure"] in ("dice", "hd95_mm")] == wanted


def test_pictures_of_16_bits_keep_their_greys(tmp_path):
    from volforge.by_hand.distribution import slices_of

    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values * 257).save(tmp_path / "a.png")
    [found], _ = slices_of(tmp_path, (0, 1))
    assert np.allclose(found[0], values / 255, atol=1 / 255)


def test_weights_of_another_network_get_words(run, files):
    code, _, err = run("measure", "distribution", "real", "real", "--network", "published.pth")
    assert code == 1
    assert "published.pth" in err
