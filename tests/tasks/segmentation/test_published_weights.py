"""Published weights of the jaw joint: the same answer by our networks, whatever the names, and nothing else taken."""

import json

import pytest
import torch

from tests.conftest import volforge
from tests.tasks.segmentation.published import UNet, VNet, drawn
from volforge.errors import VolforgeError
from volforge.inference.model import load_model
from volforge.tasks.segmentation.published_weights import PARTS, import_published, read_network

MADE = {"unet": lambda: UNet(16), "gated": lambda: UNet(16, gated=True), "vnet": lambda: VNet(2)}


def seen_by_ours(volume, flips):
    """A volume [z, y, x] as ours sees it, along R, A, S."""
    return volume.flip(flips).permute(0, 1, 4, 3, 2)


@pytest.mark.parametrize(("order", "flips"), [("upwards", [3, 4]), ("downwards", [2, 3, 4])])
@pytest.mark.parametrize("kind", MADE)
def test_our_networks_answer_as_the_published_ones(kind, order, flips):
    theirs = drawn(MADE[kind]())
    ours = read_network(theirs.state_dict(), order).network().double()
    theirs.double()
    volume = torch.randn(1, 1, 16, 32, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        wanted, found = theirs(volume), ours(seen_by_ours(volume, flips))
    assert torch.allclose(found, seen_by_ours(wanted, flips), atol=1e-9)
    assert float(found.std()) > 1e-3


@pytest.mark.parametrize("kind", MADE)
def test_layers_of_unknown_names_are_told_apart_by_order_and_shape(kind):
    state = drawn(MADE[kind]()).state_dict()
    layers = list(dict.fromkeys(k.rpartition(".")[0] for k in state))
    other = {f"module.layer{layers.index(k.rpartition('.')[0])}.{k.rpartition('.')[2]}": v for k, v in state.items()}
    by_name, by_order = read_network(state), read_network(other)
    assert by_name.spec == by_order.spec
    assert all(torch.equal(v, by_order.state[k]) for k, v in by_name.state.items())


@pytest.mark.parametrize("kind", MADE)
def test_known_names_decide_where_the_file_lists_its_layers_in_another_order(kind):
    state = drawn(MADE[kind]()).state_dict()
    turned = dict(sorted(state.items()))
    found = read_network(turned)
    assert all(torch.equal(v, found.state[k]) for k, v in read_network(state).state.items())


def test_sizes_are_those_of_the_paper():
    with torch.device("meta"):
        states = [UNet(32).state_dict(), UNet(32, gated=True).state_dict(), VNet(16).state_dict()]
    for state, count in zip(states, (4_080_914, 4_113_963, 65_191_134), strict=True):
        kept = [v.numel() for k, v in state.items() if not k.endswith(("running_mean", "running_var", "tracked"))]
        assert sum(kept) == count


def test_what_does_not_fit_is_named():
    state = drawn(MADE["unet"]()).state_dict()
    short = {k: v for k, v in state.items() if not k.startswith("final_conv.")}
    with pytest.raises(VolforgeError, match=r"14 layers with kernels of 3 x 3 x 3 and 0 of one voxel"):
        read_network(short)
    more = {**state, "extra.weight": torch.zeros(3, 7)}
    with pytest.raises(VolforgeError, match=r"1 are of no layer: extra \(3, 7\)"):
        read_network(more)
    name = "encoders.2.basic_module.SingleConv2.conv.weight"
    bent = {**state, name: torch.zeros(17, 16, 3, 3, 3)}
    with pytest.raises(
        VolforgeError, match=r"down\.2\.1\.0 \(64, 32, 3, 3, 3\).*SingleConv2\.conv \(17, 16, 3, 3, 3\)"
    ):
        read_network(bent)
    broken = {**state, name: torch.full_like(state[name], torch.nan)}
    with pytest.raises(VolforgeError, match="not finite: down"):
        read_network(broken)
    with pytest.raises(VolforgeError, match="0 layers with kernels of 2 x 2 x 2"):
        read_network({"conv.weight": torch.zeros(4, 1, 5, 5, 5)})


@pytest.mark.parametrize("part", PARTS)
def test_a_file_becomes_the_folder_of_a_model(tmp_path, part):
    torch.save(drawn(MADE["unet"]()).state_dict(), tmp_path / "UNet_100e_1.pth")
    told = []
    import_published(tmp_path / "UNet_100e_1.pth", part, tmp_path / "model", told.append)
    assert told == [str(tmp_path / "model")]
    model = load_model(tmp_path / "model")
    assert model.about["imported"]["part"] == part
    assert model.settings.kind == ("localiser" if part == "localiser" else "structures")
    assert (model.settings.region is None) == (part == "localiser")
    with torch.no_grad():
        assert model.network(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 2, 16, 16, 16)


def test_by_command_and_by_part(tmp_path):
    file = tmp_path / "UNet_100e_1.pth"
    torch.save(drawn(MADE["unet"]()).state_dict(), file)
    done = volforge("weights", "published", "segmentation", file, "condyle:downwards", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "m/model.json").read_text())["network"]["name"] == "unet3d"
    with pytest.raises(VolforgeError, match="unknown part 'ball'"):
        import_published(file, "ball", tmp_path / "n")
    with pytest.raises(VolforgeError, match="file not found"):
        import_published(tmp_path / "none.pth", "condyle", tmp_path / "n")
