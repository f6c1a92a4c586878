"""Published PyTorch weights: networks of ours give what the published layers give; what does not fit is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.tasks.translation import published
from volforge import components
from volforge.errors import VolforgeError
from volforge.tasks.translation.published_weights import from_published, import_published, read_published

MAKE = {
    "generator": lambda: published.generator(blocks=3),
    "discriminator": published.discriminator,
    "extractor": published.Extractor,
}
CHANNELS = {"generator": 1, "discriminator": 1, "extractor": 3}


def drawn(make, seed=0):
    """A published network with weights far from its start, and batch norms that have seen something."""
    torch.manual_seed(seed)
    network = make()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, next(network.parameters()).shape[1], 32, 32))
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def image(channels, size=32):
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(9)) * 2 - 1


def same(one, other, channels):
    with torch.no_grad():
        found, wanted = one(image(channels)), other(image(channels))
    assert float(wanted.std()) > 1e-3
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("part", MAKE)
def test_our_network_gives_what_the_published_layers_give(part, prefix):
    network = drawn(MAKE[part])
    made = from_published({prefix + k: v for k, v in network.state_dict().items()}, part)
    same(made.network(), network.eval(), CHANNELS[part])


@pytest.mark.parametrize(
    ("channels", "outputs", "width", "blocks"), [(1, 1, 4, 9), (1, 1, 3, 6), (3, 3, 2, 9), (4, 1, 4, 1)]
)
def test_width_blocks_and_channels_of_a_generator_are_read_off(channels, outputs, width, blocks):
    network = drawn(lambda: published.generator(channels, outputs, width, blocks))
    made = from_published(network.state_dict(), "generator")
    assert made.spec == {"name": "resnet_generator", "width": width, "blocks": blocks}
    assert made.given == {"channels": channels, "outputs": outputs}
    same(made.network(), network, channels)


@pytest.mark.parametrize("make", [published.generator, published.discriminator])
def test_statistics_of_instance_norms_are_left_out(make):
    """The published code kept them and, always in train mode, never used them."""
    network = drawn(lambda: make(keeps=True))
    part = make.__name__
    assert any("running_mean" in k for k in network.state_dict())
    made = from_published(network.state_dict(), part)
    assert not any("running" in k for k in made.state)
    same(made.network(), network.train(), 1)


def test_both_spellings_of_the_extractor_and_files_without_counts():
    network = drawn(lambda: published.Extractor(later=True))
    state = network.state_dict()
    assert "down1.maxpool_conv.1.double_conv.0.weight" in state
    same(from_published(state, "extractor").network(), network.eval(), 3)
    old = {k: v for k, v in drawn(MAKE["extractor"]).state_dict().items() if "num_batches" not in k}
    assert "down1.mpconv.1.conv.0.weight" in old
    assert "inc.conv.conv.4.running_var" in old
    same(from_published(old, "extractor").network(), drawn(MAKE["extractor"]).eval(), 3)


def test_the_published_sizes_are_known():
    with torch.device("meta"):
        made = {
            "generator": published.generator(width=64),
            "discriminator": published.discriminator(width=64),
            "extractor": published.Extractor(width=64),
        }
    counts = {k: sum(p.numel() for p in v.parameters()) for k, v in made.items()}
    assert counts == {"generator": 11_365_633, "discriminator": 2_762_689, "extractor": 13_395_329}


@pytest.mark.parametrize("part", MAKE)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_becomes_a_model_s_folder(tmp_path, part, zipped):
    network = drawn(MAKE[part])
    path = tmp_path / "latest_net_G_A.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    said = []
    import_published(path, part, tmp_path / "model", say=said.append)
    assert said == [str(tmp_path / "model")]
    about = json.loads((tmp_path / "model/model.json").read_text())
    given = {"channels": about["channels"], **({"outputs": about["outputs"]} if part == "generator" else {})}
    ours = components.build("network", about["network"], **given)
    ours.load_state_dict(load_file(tmp_path / "model/weights.safetensors"))
    same(ours.eval(), network.eval(), CHANNELS[part])
    assert about["parameters"] == sum(p.numel() for p in network.parameters())
    assert about["imported"]["file"] == "latest_net_G_A.pth"
    assert about["imported"]["part"] == part
    assert (about["step"], about["subjects"], about["size"]) == (0, {}, [256, 256])
    windows = [about["recipe_settings"][name] for name in ("ct_window", "mr_window")]
    assert [(w["kind"], w["low"], w["high"]) for w in windows] == [("hu", -1000, 1400), ("hu", 0, 400)]
    assert about["kind"] == {"generator": "translation", "extractor": "shape_extractor"}.get(part, part)


def test_settings_that_are_known_are_written_and_those_of_the_file_stay(tmp_path):
    path = tmp_path / "G.pth"
    torch.save(drawn(MAKE["generator"]).state_dict(), path)
    quiet = {"say": lambda text: None}
    import_published(path, "generator", tmp_path / "model", {"arm": "cyclegan", "source": {"modality": "CT"}}, **quiet)
    about = json.loads((tmp_path / "model/model.json").read_text())
    assert (about["arm"], about["source"]) == ("cyclegan", {"modality": "CT"})
    for wrong in ({"network": {"name": "resnet_generator", "width": 64}}, {"kind": "shape_extractor"}):
        with pytest.raises(VolforgeError, match="holds the network"):
            import_published(path, "generator", tmp_path / "other", wrong, **quiet)
    assert not (tmp_path / "other").exists()


def dropped(key):
    return lambda state: {k: v for k, v in state.items() if k != key}


def changed(key, change):
    return lambda state: {**state, key: change(state[key])}


@pytest.mark.parametrize(
    ("part", "change", "text"),
    [
        ("generator", dropped("model.4.bias"), r"1 weights are missing: layers\.4\.bias"),
        ("generator", dropped("model.11.conv_block.5.weight"), r"missing: layers\.11\.layers\.5\.weight"),
        ("generator", dropped("model.1.weight"), r"no kernel 'model\.1\.weight'"),
        ("generator", dropped("model.20.weight"), r"no kernel 'model\.20\.weight'"),
        ("generator", changed("model.7.weight", lambda v: v[:5]), r"layers\.7\.weight is \(5, 8, 3, 3\), not \(16, 8"),
        ("generator", lambda s: {**s, "model.2.weight": torch.ones(4)}, r"of no layer: layers\.2\.weight"),
        ("generator", lambda s: {**s, "model.4.running_mean": torch.ones(8)}, r"of no layer: layers\.4\.running_mean"),
        ("generator", changed("model.1.bias", lambda v: v * torch.nan), r"not finite: layers\.1\.bias"),
        ("generator", lambda s: {**s, "module.model.1.bias": s["model.1.bias"]}, "differ by `module.` alone"),
        ("generator", lambda s: drawn(MAKE["discriminator"]).state_dict(), "no residual block"),
        ("generator", lambda s: {}, "no residual block"),
        ("discriminator", lambda s: drawn(MAKE["generator"]).state_dict(), r"no kernel 'model\.0\.weight'"),
        ("discriminator", changed("model.2.weight", lambda v: v[:, :3]), r"layers\.2\.weight is \(8, 3, 4, 4\)"),
        ("discriminator", lambda s: {"model.0.weight": s["model.0.weight"]}, "one to five halvings"),
        ("extractor", lambda s: drawn(MAKE["generator"]).state_dict(), r"'model\.1\.weight' is no weight"),
        ("extractor", dropped("up2.conv.conv.1.running_var"), r"missing: up\.1\.1\.running_var"),
        ("extractor", changed("outc.conv.weight", lambda v: torch.cat([v, v])), r"head\.weight is \(2, 4, 1, 1\)"),
        ("extractor", lambda s: {**s, "up1.up.weight": s["outc.conv.weight"]}, r"'up1\.up\.weight' is no weight"),
        (
            "extractor",
            lambda s: {**s, "inc.double_conv.0.weight": s["inc.conv.conv.0.weight"]},
            "two keys stand for one weight",
        ),
    ],
)
def test_what_does_not_fit_is_named(part, change, text):
    state = change(dict(drawn(MAKE[part]).state_dict()))
    with pytest.raises(VolforgeError, match=text) as found:
        from_published(state, part, "some.pth")
    assert found.value.where == "some.pth"
    assert found.value.remedy


def test_a_generator_with_dropout_is_refused_for_it():
    """Its blocks have one layer more: their second convolution is layer 6."""
    state = {k.replace("conv_block.5", "conv_block.6"): v for k, v in drawn(MAKE["generator"]).state_dict().items()}
    with pytest.raises(VolforgeError, match=r"6 weights are missing.*6 are of no layer") as found:
        from_published(state, "generator")
    assert "without dropout" in found.value.remedy


def test_files_that_are_none_are_refused_and_nothing_runs(tmp_path):
    with pytest.raises(VolforgeError, match="file not found"):
        read_published(tmp_path / "none.pth", "generator")
    (tmp_path / "text.pth").write_text("no")
    torch.save(drawn(MAKE["generator"]), tmp_path / "whole.pth")  # a module, whose loading would run code
    torch.save({"a": 3}, tmp_path / "numbers.pth")
    for name in ("text.pth", "whole.pth", "numbers.pth"):
        with pytest.raises(VolforgeError, match="not a file of plain weights"):
            read_published(tmp_path / name, "generator")
    with pytest.raises(VolforgeError, match="unknown part 'judge'"):
        from_published({}, "judge")
