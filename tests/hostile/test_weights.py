"""Weights and models from anywhere: damaged ones are refused, and none runs anything."""

import json
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from safetensors.torch import save

from tests.hostile.damage import bounded, damages, fuzz
from volforge.components import OWN_CODE, name_own_code, refuse_unnamed
from volforge.errors import VolforgeError
from volforge.inference.model import load_model
from volforge.volume.folders import sha256_of
from volforge.weights import fill, load_state, read_arrays, read_tensors

ANY = damages()
STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3, dtype=torch.float16)}


class Runs:
    """What a pickle does to whoever loads it without care."""

    def __reduce__(self):
        return os.system, ("touch owned",)


@fuzz(60)
@given(damage=ANY)
def test_damaged_safetensors(tmp_path_factory, damage):
    path = tmp_path_factory.getbasetemp() / "w.safetensors"
    content = save(STATE)
    path.write_bytes(damage(content, len(content) - 60))
    for read in (read_tensors, read_arrays):
        with bounded():
            read(path)


@fuzz(40)
@given(damage=ANY)
def test_damaged_public_weights(tmp_path_factory, damage):
    path = tmp_path_factory.getbasetemp() / "w.pth"
    torch.save(STATE, path)
    content = path.read_bytes()
    path.write_bytes(damage(content, len(content)))
    with bounded():
        load_state(path)


def test_safetensors_that_promise_a_petabyte(tmp_path):
    head = json.dumps({"a": {"dtype": "F32", "shape": [1 << 48], "data_offsets": [0, 1 << 50]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(64))
    (tmp_path / "v.safetensors").write_bytes(struct.pack("<Q", 1 << 50) + bytes(64))
    for name in ("w", "v"):
        for read in (read_tensors, read_arrays):
            with bounded(), pytest.raises(VolforgeError, match="not a safetensors file"):
                read(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_weights_run_nothing(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"a": Runs()}, protocol))
    torch.save({"a": Runs(), "b": torch.ones(2)}, tmp_path / "zip.pth", pickle_protocol=max(protocol, 2))
    torch.save(
        {"a": Runs()}, tmp_path / "old.pth", pickle_protocol=max(protocol, 2), _use_new_zipfile_serialization=False
    )
    for name in ("bare.pth", "zip.pth", "old.pth"):
        with bounded(), pytest.raises(VolforgeError, match="not a file of plain weights"):
            load_state(tmp_path / name)
        with bounded(), pytest.raises(VolforgeError, match="not a safetensors file"):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "owned").exists()
    torch.save(STATE, tmp_path / "good.pth")
    assert torch.equal(load_state(tmp_path / "good.pth")["a.weight"], STATE["a.weight"])


def test_arrays_and_tensors_agree_and_other_networks_are_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(save(STATE))
    arrays, tensors = read_arrays(tmp_path / "w.safetensors"), read_tensors(tmp_path / "w.safetensors")
    assert all(np.array_equal(arrays[k], tensors[k].numpy()) for k in STATE)
    with pytest.raises(VolforgeError, match="do not fit the network"):
        fill(torch.nn.Linear(4, 3), tensors, tmp_path / "w.safetensors")
    own = {k.removeprefix("a."): v.float() for k, v in tensors.items()}
    assert torch.equal(fill(torch.nn.Linear(4, 3), own, tmp_path).weight, STATE["a.weight"])


def test_a_model_from_elsewhere_names_no_python_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(OWN_CODE, raising=False)
    (tmp_path / "net.py").write_text("import os\nos.system('touch owned')\nclass Net:\n    pass\n")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/weights.safetensors").write_bytes(save(STATE))
    about = {"network": {"name": "net.py:Net"}, "sha256": sha256_of(tmp_path / "m/weights.safetensors")}
    (tmp_path / "m/model.json").write_text(json.dumps(about))
    for name in ("net.py:Net", str(tmp_path / "net.py:Net"), "./m/../net.py:Net"):
        (tmp_path / "m/model.json").write_text(json.dumps(about | {"network": {"name": name}}))
        with pytest.raises(VolforgeError, match="which its description alone names"):
            load_model(tmp_path / "m")
    assert not (tmp_path / "owned").exists()
    monkeypatch.setenv(OWN_CODE, "")
    name_own_code(["net.py"])  # as the workflow does for the files of its configuration
    refuse_unnamed(about, tmp_path / "m")
    with pytest.raises(VolforgeError, match="alone names"):
        refuse_unnamed({"network": {"name": "other.py:Net"}}, tmp_path / "m")
    refuse_unnamed({"network": {"name": "unet3d"}}, tmp_path / "m")
