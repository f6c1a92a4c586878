"""Published Keras weights: the network gives what Keras's formulas give; files in both layouts are read, others refused."""

import json
import sys

import numpy as np
import pytest
import torch

from tests.tasks.implant import keras
from volforge.errors import VolforgeError
from volforge.networks.cranial_autoencoder import CranialAutoencoder
from volforge.tasks.implant.apply import load_model
from volforge.tasks.implant.keras_weights import VARIANTS, from_keras, read_keras, turned, write_imported

WIDTH = 2


@pytest.fixture(scope="module")
def made():
    return keras.layers(WIDTH, np.random.default_rng(0))


def image():
    return (np.random.default_rng(1).random((16, 32, 16)) > 0.6).astype(np.float32)


@pytest.mark.parametrize("head", ["tanh", "sigmoid"])
def test_the_forward_pass_is_that_of_keras(made, head):
    network = CranialAutoencoder(width=WIDTH, head=head).eval()
    network.load_state_dict(from_keras(made))
    with torch.no_grad():
        found = network(torch.from_numpy(image())[None, None])[0, 0].numpy()
    formula = np.tanh if head == "tanh" else lambda x: 1 / (1 + np.exp(-x))
    wanted = keras.forward(image(), made, formula)
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_a_kernel_that_is_not_turned_gives_another_answer(made):
    plain = [(n, {**w, "kernel": w["kernel"][::-1]} if "transpose" in n else w) for n, w in made]
    assert np.abs(keras.forward(image(), plain) - keras.forward(image(), made)).max() > 1e-3


def test_a_turned_kernel_is_the_transposed_convolution_of_torch():
    kernel = np.random.default_rng(2).normal(size=(5, 5, 5, 3, 2)).astype(np.float32)  # out 3, in 2
    x = torch.randn(1, 2, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2)))
    wanted = torch.nn.functional.conv_transpose3d(x, weight, padding=2)
    found = torch.nn.functional.conv3d(x, torch.from_numpy(turned(kernel)), padding=2)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_imported_model_is_loaded_as_a_trained_one(made, tmp_path, variant):
    source = tmp_path / "encoderdecoder.h5"
    source.write_bytes(b"the file itself")
    write_imported(from_keras(made), variant, tmp_path / "model", source)
    model = load_model(tmp_path / "model")
    about = json.loads((tmp_path / "model/model.json").read_text())
    assert about["imported"]["variant"] == variant
    assert about["parameters"] == sum(p.numel() for p in CranialAutoencoder(width=WIDTH).parameters())
    assert model.settings.patch == ((128, 128, 128) if variant == "ae_patch" else (128, 128, 64))
    assert model.settings.implant["threshold"] == (0 if variant == "ae_boundary" else 0.5)
    assert model.settings.network["head"] == ("sigmoid" if variant == "ae_dice_boundary" else "tanh")


@pytest.mark.parametrize("nested", [True, False])
def test_files_of_keras_are_read_in_the_order_of_the_network(made, tmp_path, nested):
    pytest.importorskip("h5py", reason="h5py is no dependency; it is installed by who has such files")
    keras.write_file(tmp_path / "w.h5", made, nested)
    state, wanted = from_keras(read_keras(tmp_path / "w.h5")), from_keras(made)
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[k], wanted[k]) for k in wanted)


def test_other_files_are_refused(tmp_path):
    pytest.importorskip("h5py", reason="h5py is no dependency; it is installed by who has such files")
    import h5py

    (tmp_path / "text.h5").write_text("no")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for name in ("text.h5", "empty.h5", "missing.h5"):
        with pytest.raises(VolforgeError, match="not a Keras HDF5 file"):
            read_keras(tmp_path / name)


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(VolforgeError, match="needs the package h5py"):
        read_keras(tmp_path / "w.h5")


def test_other_networks_are_refused(made):
    with pytest.raises(VolforgeError, match="8 layers with kernels"):
        from_keras([m for m in made if m[0] != "conv3d_4"])
    wrong = [(n, {**w, "kernel": w["kernel"][..., :1, :]} if n == "conv3d_2" else w) for n, w in made]
    with pytest.raises(VolforgeError, match=r"'conv3d_2'.*does not follow"):
        from_keras(wrong)
