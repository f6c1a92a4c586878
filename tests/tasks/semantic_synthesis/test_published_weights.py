"""Published generators: the same image by our networks, upright and of one channel, and nothing else taken."""

import json

import pytest
import torch

from tests.conftest import volforge
from tests.tasks.semantic_synthesis.published import Generator, drawn
from volforge.errors import VolforgeError
from volforge.networks.haar import haar, inverse_haar
from volforge.tasks.semantic_synthesis.predict import load_generator
from volforge.tasks.semantic_synthesis.published_weights import PARTS, import_published, read_generator

CLASSES = 31
MADE = {
    "oasis": lambda noise=64: drawn(Generator(False, 2, blocks=4, noise=noise, hidden=6)),
    "wavelet": lambda noise=64: drawn(Generator(True, 2, blocks=4, noise=noise, hidden=6)),
}


def scene(noise=64):
    """Labels of classes that are kept, as they lie in the published slices, and a latent."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(CLASSES, (2, 4, 6), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    hot = torch.nn.functional.one_hot(ids, 38).movedim(-1, 1).double()
    return hot, torch.randn(2, noise, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("noise", [64, 0])
@pytest.mark.parametrize("kind", MADE)
def test_our_generators_paint_what_the_published_ones_do(kind, noise):
    theirs = MADE[kind](noise)
    made = read_generator(theirs.state_dict(), CLASSES)
    labels, z = scene(noise)
    # ours goes to 32 bit before the end
    ours, theirs = made.network().double(), theirs.double()
    with torch.no_grad():
        wanted = theirs(labels, z)
        found = ours(labels[:, :CLASSES].transpose(-1, -2), z)
    assert torch.equal(wanted[:, 0], wanted[:, 2])
    assert torch.allclose(found[:, 0].double(), wanted[:, 0].transpose(-1, -2), atol=1e-5)
    assert float(wanted.std()) > 1e-3
    assert made.spec["noise"] == noise


@pytest.mark.parametrize("kind", MADE)
def test_layers_of_unknown_names_are_told_apart_by_order_and_shape(kind):
    state = MADE[kind]().state_dict()
    layers = list(dict.fromkeys(k.rpartition(".")[0] for k in state))
    other = {f"module.g{layers.index(k.rpartition('.')[0])}.{k.rpartition('.')[2]}": v for k, v in state.items()}
    by_name, by_order = read_generator(state), read_generator(other)
    assert by_name.spec == by_order.spec
    assert all(torch.equal(v, by_order.state[k]) for k, v in by_name.state.items())


@pytest.mark.parametrize("kind", MADE)
def test_known_names_decide_where_the_file_lists_its_layers_in_another_order(kind):
    state = MADE[kind]().state_dict()
    found = read_generator(dict(sorted(state.items(), key=lambda e: e[0].replace("norm_s", "norm_00"))))
    assert all(torch.equal(v, found.state[k]) for k, v in read_generator(state).state.items())


def test_sizes_are_those_that_were_published():
    with torch.device("meta"):
        nets = [Generator(False, 64), Generator(True, 16)]
    assert [sum(p.numel() for p in n.parameters()) for n in nets] == [71_190_467, 55_803_884]


def test_what_does_not_fit_is_named():
    state = MADE["oasis"]().state_dict()
    with pytest.raises(VolforgeError, match=r"1 are of no layer: extra \(3, 7\)"):
        read_generator({**state, "extra.weight": torch.zeros(3, 7)})
    short = {k: v for k, v in state.items() if not k.startswith("body.2.norm_s.mlp_beta")}
    with pytest.raises(VolforgeError, match=r"1 layers are missing: blocks\.2\.past\.0\.shift"):
        read_generator(short)
    judge = {"conv.weight_orig": torch.zeros(4, 3, 3, 3), "out.weight": torch.zeros(39, 4, 1, 1)}
    with pytest.raises(VolforgeError, match="are no published generator"):
        read_generator(judge)
    street = drawn(Generator(False, 2, blocks=2, labels=35, hidden=6)).state_dict()
    with pytest.raises(VolforgeError, match="has 99 channels, not 38"):
        read_generator(street)
    waves = MADE["wavelet"]().state_dict()
    turned = {k: v.T if k.endswith("dwt.lh") else v for k, v in waves.items()}
    with pytest.raises(VolforgeError, match="high along rows"):
        read_generator(turned)


@pytest.mark.parametrize("part", PARTS)
def test_a_file_becomes_the_folder_of_a_model(tmp_path, part):
    torch.save(MADE["oasis"]().state_dict(), tmp_path / "best_EMA.pth")
    import_published(tmp_path / "best_EMA.pth", part, tmp_path / "model", lambda _: None)
    generator = load_generator(tmp_path / "model")
    assert generator.settings.channels == 1 + len(PARTS[part])
    assert generator.settings.is_hounsfield == (part == "ct")
    assert generator.about["imported"]["part"] == part
    with pytest.raises(VolforgeError, match="unknown part 'pet'"):
        import_published(tmp_path / "best_EMA.pth", "pet", tmp_path / "n")
    with pytest.raises(VolforgeError, match="file not found"):
        import_published(tmp_path / "none.pth", part, tmp_path / "n")


def test_by_command(tmp_path):
    torch.save(MADE["wavelet"]().state_dict(), tmp_path / "best_EMA.pth")
    done = volforge("weights", "published", "semantic_synthesis", tmp_path / "best_EMA.pth", "ct", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "m/model.json").read_text())["network"]["name"] == "wavelet_generator"
    listed = volforge("weights", "list")
    assert "published, semantic_synthesis ct:" in listed.stdout


def test_sub_bands_of_convolved_kernels_differ_in_the_sign_of_two():
    image = torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    plain, turned = haar(image).chunk(4, dim=1), haar(image, convolved=True)
    assert torch.equal(turned, torch.cat([plain[0], -plain[1], -plain[2], plain[3]], dim=1))
    assert torch.allclose(inverse_haar(turned, convolved=True), image, atol=1e-6)
