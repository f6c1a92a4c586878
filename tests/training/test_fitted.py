"""A fitted model leaves the folder that a trained one leaves, whole or not at all."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from volforge.errors import VolforgeError
from volforge.report.figures import _histories
from volforge.report.study_files import costs
from volforge.training.fitted import write_fitted
from volforge.training.trained_files import write_trained
from volforge.volume.folders import sha256_of

ABOUT = {"study": "s", "arm": "a", "model": "m", "subjects": {"training": ["p0", "p1"]}}


def tensors():
    rng = np.random.default_rng(0)
    maps = np.asfortranarray(rng.normal(size=(3, 4, 5)).astype(np.float32))
    return {"template": rng.normal(size=(6, 2)), "maps": maps, "mask": maps[:, ::2] > 0, "count": np.array(7)}


def test_values_come_back_as_they_were(tmp_path):
    digest = write_fitted(tmp_path / "m", tensors(), ABOUT, 7.25, threads=2)
    found = load_file(tmp_path / "m" / "weights.safetensors")
    assert found.keys() == tensors().keys()
    for name, wanted in tensors().items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        assert (found[name] == wanted).all()
    about = json.loads((tmp_path / "m" / "model.json").read_text())
    assert {k: about[k] for k in ABOUT} == ABOUT
    assert about["fitted"] is True
    assert (about["step"], about["steps"], about["multiply_adds"]) == (0, 0, 0)
    assert about["parameters"] == 12 + 60 + 30 + 1
    assert about["sha256"] == digest == sha256_of(tmp_path / "m" / "weights.safetensors")
    assert about["versions"].keys() == {"volforge", "numpy"}
    cost = json.loads((tmp_path / "m" / "cost.json").read_text())
    assert cost["seconds"] == 7.25
    assert cost["device_hours"] == round(7.25 / 3600, 6)
    assert cost["threads"] == 2
    assert cost["peak_memory_gib"] > 0


def test_the_files_are_those_of_a_training(tmp_path):
    import torch

    from volforge.training.task import Plan

    write_fitted(tmp_path / "fitted", tensors(), ABOUT, 1.0)
    (tmp_path / "trained").mkdir()
    done = SimpleNamespace(history=[{"step": 5.0, "loss": 0.5}], seconds=1.0, peak_memory_gib=1.0, device="CPU")
    write_trained(tmp_path / "trained", {"w": torch.zeros(2)}, done, Plan(5, 1))
    fitted, trained = ({p.name for p in (tmp_path / n).iterdir()} for n in ("fitted", "trained"))
    assert fitted - {".volforge"} == trained | {"model.json"}
    assert (tmp_path / "trained" / "history.tsv").read_text() == "step\tloss\n5\t0.5\n"
    assert (tmp_path / "fitted" / "history.tsv").read_text() == "step\n"
    one, other = (json.loads((tmp_path / n / "cost.json").read_text()) for n in ("fitted", "trained"))
    assert one.keys() == other.keys()


def test_the_report_takes_it(tmp_path):
    """Its cost counts, and it has no curve."""
    folder = tmp_path / "study"
    write_fitted(folder / "a" / "fold0" / "seed0" / "models" / "m", tensors(), ABOUT, 36.0)
    (row,) = costs({"study": "s", "parts": [["a", 0, 0]]}, ["a"], folder)
    assert (row["parameters"], row["multiply_adds"]) == (103, 0)
    assert row["train_device_hours"] == "0.01"
    assert row["device"] == "CPU"
    assert _histories([("a", folder / "a" / "fold0" / "seed0")], ["a"]) == {}


def test_it_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        write_fitted(tmp_path / "m", tensors(), {**ABOUT, "odd": object()}, 1.0)
    assert not list(tmp_path.iterdir())
    first = write_fitted(tmp_path / "m", tensors(), ABOUT, 1.0)
    with pytest.raises(TypeError):
        write_fitted(tmp_path / "m", {"other": np.zeros(3)}, {**ABOUT, "odd": object()}, 1.0)
    assert sha256_of(tmp_path / "m" / "weights.safetensors") == first  # the old one stays
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(VolforgeError, match="did not make"):
        write_fitted(tmp_path / "mine", tensors(), ABOUT, 1.0)


def test_the_same_values_give_the_same_bytes_and_no_torch_is_needed(tmp_path):
    write_fitted(tmp_path / "m", tensors(), ABOUT, 1.0)
    code = (
        "import sys; from pathlib import Path; import numpy as np; from volforge.training.fitted import write_fitted; "
        f"write_fitted(Path({str(tmp_path / 'n')!r}), {{'x': np.zeros(3)}}, {{}}, 1.0); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    write_fitted(tmp_path / "o", dict(reversed(tensors().items())), ABOUT, 1.0)
    for name in ("weights.safetensors", "model.json"):
        assert (tmp_path / "m" / name).read_bytes() == (tmp_path / "o" / name).read_bytes()
