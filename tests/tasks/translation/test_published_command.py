"""Published weights by the command line."""

import json

import torch

from tests.conftest import volforge
from volforge.networks.resnet_generator import ResnetGenerator


def test_published_weights_become_the_folder_of_a_model(tmp_path):
    own = ResnetGenerator(width=2, blocks=6).state_dict()
    state = {k.replace("layers.", "model.", 1).replace(".layers.", ".conv_block."): v for k, v in own.items()}
    torch.save(state, tmp_path / "latest_net_G_A.pth")
    done = volforge("weights", "published", "translation", tmp_path / "latest_net_G_A.pth", "generator", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "m/model.json").read_text())
    assert about["network"] == {"name": "resnet_generator", "width": 2, "blocks": 6}
    assert (tmp_path / "m/weights.safetensors").exists()
    other = volforge(
        "weights", "published", "negative_volume", tmp_path / "latest_net_G_A.pth", "generator", tmp_path / "n"
    )
    assert other.returncode != 0
    assert "knows no published weights" in other.stderr
    assert "tasks that do: segmentation" in other.stderr
