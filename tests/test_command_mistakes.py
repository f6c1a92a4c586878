"""Commands with files of another kind, and arguments that are none: words, no traceback, nothing touched."""

import shlex
import sys

import numpy as np
import pytest

from tests.conftest import ball_ct, save
from volforge.cli import main

MODEL = "model predict --out p.nii.gz --image ct.nii.gz --weights empty"
INFLATE = "shape inflate --condyle mask.nii.gz --barrier other.nii.gz -o out"
COLLECT = "cohort collect --sheet sheet.tsv --records empty --out o.tsv --settings"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with files of every kind."""
    monkeypatch.chdir(tmp_path)
    mask = (ball_ct() > 0).astype(np.uint8)
    save(tmp_path / "ct.nii.gz", ball_ct())
    save(tmp_path / "mask.nii.gz", mask)
    save(tmp_path / "other.nii.gz", np.roll(mask, 1, 0))
    values = mask.astype(np.float32)
    values[0, 0, 0] = np.nan
    save(tmp_path / "nan.nii.gz", values)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "object.json").write_text("{}")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "half.json").write_text("{")
    (tmp_path / "bare.json").write_text('{"accepted": true}')
    (tmp_path / "half2.json").write_text('{"study": 1, "parts": 2}')
    (tmp_path / "empty.tsv").touch()
    (tmp_path / "sheet.tsv").write_text("subject\tscan\tmodality\timage\np\ts\tCT\tct.nii.gz\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cohort check empty", "empty: cannot be read: Is a directory"),
        (
            "cohort phantoms --sheet sheet.tsv --kind body --out p --spacing-mm nan",
            "--spacing-mm: Input should be a finite",
        ),
        (
            "cohort phantoms --sheet sheet.tsv --kind body --out p --spacing-mm -3",
            "--spacing-mm: Input should be greater",
        ),
        (
            "cohort phantoms --sheet sheet.tsv --kind body --out p --seed -1",
            "--seed: Input should be greater than or equal",
        ),
        ("cohort phantoms --sheet sheet.tsv --kind body --out file", "file: a folder is written, and this is a file"),
        (f"{COLLECT} x", "--settings is not JSON"),
        (
            COLLECT + ' \'{"seed":1,"folds":"a","splits":{},"on_bad_scan":"stop","makes_labels":false}\'',
            "--settings: folds is 'a'",
        ),
        ("cohort duplicates sheet.tsv --out sheet.tsv", "--out would be written over sheet.tsv"),
        ("scan restore mask.nii.gz --record bare.json --out r.nii.gz --labels", "not the record of a scan: it has no"),
        ("study table --measures sheet.tsv --settings half2.json --out t", "it has no"),
        ("study collect sheet.tsv --out sheet.tsv", "--out would be written over sheet.tsv"),
        (f"{COLLECT} []", "--settings: not an object with seed, folds"),
        (f"{COLLECT} {{}}", "--settings: not an object with seed, folds"),
        (
            "cohort index --recipe empty --scans sheet.tsv --out o.tsv",
            "not the scans.tsv of a cohort: columns are missing",
        ),
        ("cohort index --recipe empty --scans ct.nii.gz --out o.tsv", "not the scans.tsv of a cohort: it is no table"),
        ("cohort index --recipe empty --scans none.tsv --out o.tsv", "none.tsv: file not found"),
        ("scan import --out file --image ct.nii.gz", "file: a folder is written, and this is a file"),
        ("scan import --out file/x --image ct.nii.gz", "file is a file, not a folder"),
        (
            "scan import --out o --image ct.nii.gz --settings list.json",
            "not the settings of a cohort: it is no JSON object",
        ),
        ("scan import --out o --image ct.nii.gz --settings half.json", "half.json: not JSON"),
        (
            "scan import --out o --image ct.nii.gz --made-labels object.json",
            "the record of a label command: it has no acc",
        ),
        (
            'scan cut empty --recipe \'{"kind": "slices"}\' --out o --structures \'{"a": 0}\'',
            "--structures: not ids by",
        ),
        (
            "scan restore ct.nii.gz --record object.json --out r.nii.gz",
            "object.json: not the record of a scan: it has no",
        ),
        (
            "scan restore ct.nii.gz --record list.json --out r.nii.gz",
            "list.json: not the record of a scan: it is no JSON",
        ),
        ("scan restore ct.nii.gz --record object.json --out r.png", "volumes are written as .nii.gz"),
        ("scan label --image ct.nii.gz --out l.json --command []", "--command: no program is named"),
        ("scan label --image ct.nii.gz --out l.json --command [1]", "--command: not a list of words"),
        ("scan label --image none.nii.gz --out l.json --command '[\"cp\"]'", "none.nii.gz: file not found"),
        (
            "model train --settings object.json --scans sheet.tsv --out m --checkpoints c",
            "the settings of a model: it has no",
        ),
        ("model distances --scans sheet.tsv --recipe r --ids x --out d", "--ids is not JSON"),
        ("model distances --scans sheet.tsv --recipe r --ids [0] --out d", "--ids: not a list of ids"),
        (
            "model predict --out p --settings object.json --scans sheet.tsv",
            "the settings of an arm: it has no threshold_hu",
        ),
        (f"{MODEL} --overlap 1", "--overlap: 1 is no overlap"),
        (f"{MODEL} --overlap nan", "--overlap: nan is no overlap"),
        (f"{MODEL} --window 8,8", "--window: 8,8 is no window"),
        (f"{MODEL} --window nan,8,8", "--window: 'nan' is not a number"),
        (f"{MODEL} --flips w", "--flips: 'w' are no axes"),
        (f"{MODEL} --device tpu", "--device: unknown value 'tpu'"),
        (f"{MODEL} --modality X", "--modality: unknown value 'X'"),
        (f"{MODEL} --keep a=2", "--keep: 2 of 'a' is no share"),
        (MODEL, "empty/model.json: file not found"),
        (f"{INFLATE} --condyle-ids 0", "ids begin with 1: 0 is the background"),
        (f"{INFLATE} --image nan.nii.gz", "nan.nii.gz: 1 voxels are not finite"),
        (INFLATE.replace("mask", "nan"), "nan.nii.gz: 1 voxels are not finite"),
        (INFLATE.replace("-o out", "-o file"), "file: a folder is written, and this is a file"),
        ("study collect ct.nii.gz --out o.tsv", "ct.nii.gz: not a table of measures: it is no table of text"),
        ("study collect empty.tsv --out o.tsv", "empty.tsv: not a table of measures: columns are missing"),
        ("study table --measures empty.tsv --settings half.json --out t", "half.json: not JSON"),
        (
            "study table --measures empty.tsv --settings object.json --out t",
            "the settings of a table: it has no study, task",
        ),
        (
            "study report --results empty --out r.html --provenance p.json --settings list.json",
            "of a report: it is no JSON",
        ),
        ("validate empty", "empty: cannot be read"),
    ],
)
def test_a_mistake_has_words(folder, monkeypatch, capsys, line, words):
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["volforge", *shlex.split(line)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().err
    assert ended.value.code == 1, printed
    assert words in printed
    assert "remedy" in printed
    assert sorted(folder.rglob("*")) == before
    assert (folder / "file").read_text() == "mine"
