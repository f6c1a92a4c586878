"""Predictions on a GPU: the volumes that the CPU makes of the same weights."""

import numpy as np
import pytest

from tests.gpu.made import TRAININGS, predicted, train

FLIPPED = 2e-3  # share of voxels whose two likeliest labels may change places


@pytest.mark.usefixtures("whole_fp32")
@pytest.mark.parametrize("name", ["segmentation", "synthesis_unpaired"])
def test_predictions_are_those_of_the_cpu(cohorts, device, tmp_path, name, record_property):
    trained = train(
        name, cohorts, tmp_path / "trained", "cpu", rate=1e-2, optimizer="adam", steps=10, validate_every=10
    )
    there = predicted(name, cohorts, trained.folder, tmp_path / "there", device)
    here = predicted(name, cohorts, trained.folder, tmp_path / "here", "cpu")
    assert there.keys() == here.keys()
    assert here
    for file, wanted in here.items():
        found = there[file]
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        assert len(np.unique(wanted)) > 1, file
        if np.issubdtype(wanted.dtype, np.integer) and TRAININGS[name].arm["task"] == "segmentation":
            share = float((found != wanted).mean())
            record_property(f"{file} voxels that differ", share)
            assert share <= FLIPPED, file
        else:
            most = float(np.abs(found.astype(float) - wanted.astype(float)).max())
            record_property(f"{file} largest difference", most)
            assert most <= 1e-3 * float(np.ptp(wanted.astype(float))) + 1, file


@pytest.mark.usefixtures("whole_fp32")
def test_features_are_those_of_the_cpu(device, tmp_path, record_property):
    """They are computed on a GPU wherever one is visible, whatever the run says: distances must not depend on it."""
    import torch
    from safetensors.torch import save_file

    from volforge.metrics.features import slice_encoder
    from volforge.networks.slice_encoder import SliceEncoder

    torch.manual_seed(0)
    network = SliceEncoder().eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    slices = np.random.default_rng(0).random((5, 64, 64), np.float32)
    found = slice_encoder(tmp_path / "weights.safetensors").compute(slices)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(slices)[:, None]).numpy()
    record_property("largest difference", float(np.abs(found - wanted).max()))
    assert device == "cpu" or torch.cuda.is_available()
    assert np.allclose(found, wanted, rtol=1e-3, atol=1e-4)
