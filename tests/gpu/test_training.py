"""Trainings of every task on a GPU: what the CPU says, in every precision and layout, resumed, without a leak."""

import gc

import pytest
import torch

from tests.gpu.made import ONE_OF_EACH, TRAININGS, train

MIXED = (0.05, 0.03)  # relative and absolute distance of mixed precision from 32 bit


def apart(found, wanted) -> float:
    """Largest relative distance of losses, for the record."""
    pairs = [(a[k], b[k]) for a, b in zip(found, wanted, strict=True) for k in b]
    return max(abs(a - b) / max(abs(b), 1e-3) for a, b in pairs)


def assert_near(found, wanted, bounds):
    relative, absolute = bounds
    assert len(found) == len(wanted)
    for step, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.keys() == b.keys()
        for name, value in b.items():
            assert a[name] == pytest.approx(value, rel=relative, abs=absolute), f"{name} of row {step + 1}"


@pytest.fixture(scope="module")
def plain(cohorts, device, tmp_path_factory):
    """Each training in 32 bit, by name; made when it is first asked for."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = train(name, cohorts, tmp_path_factory.mktemp(name), device)
        return found[name]

    return get


@pytest.mark.usefixtures("whole_fp32")
@pytest.mark.parametrize("name", TRAININGS)
def test_first_steps_are_those_of_the_cpu(cohorts, device, tmp_path, name, record_property):
    there = train(name, cohorts, tmp_path / "there", device)
    here = train(name, cohorts, tmp_path / "here", "cpu")
    record_property("apart", apart(there.losses, here.losses))
    assert_near(there.losses, here.losses, (1e-3, 1e-4))


@pytest.mark.usefixtures("whole_fp32")
def test_what_augmentation_draws_is_the_same_on_both(cohorts, device, tmp_path, record_property):
    more = {"augmentation": "standard", "flip": ["x"]}
    found = [train("segmentation", cohorts, tmp_path / d, d, **more).losses for d in dict.fromkeys((device, "cpu"))]
    without = train("segmentation", cohorts, tmp_path / "without", "cpu").losses
    record_property("apart", apart(found[0], found[-1]))
    # interpolation rounds labels, and a voxel at an edge may fall to either side
    assert_near(found[0], found[-1], (5e-3, 1e-3))
    assert apart(found[0], without) > 2 * apart(found[0], found[-1])


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("name", TRAININGS)
def test_mixed_precision_stays_near_32_bit(cohorts, device, plain, tmp_path, name, precision, record_property):
    mixed = train(name, cohorts, tmp_path, device, precision=precision)
    wanted = plain(name)
    record_property("apart", apart(mixed.losses, wanted.losses))
    assert mixed.losses != wanted.losses  # it was in use
    assert_near(mixed.losses, wanted.losses, MIXED)


@pytest.mark.parametrize("name", TRAININGS)
def test_one_scale_of_16_bit_losses_finds_its_place(cohorts, device, tmp_path, name, monkeypatch, record_property):
    """Every network of a step moves; the scale is halved once for every step in which a gradient did not fit."""
    if device == "cpu":
        _scaled_on_cpu(monkeypatch)
    options = {"precision": "16-mixed", "steps": 40, "validate_every": 40, "ema": 0.5}
    done = train(name, cohorts, tmp_path / "done", device, **options)
    state = done.checkpoint
    scale = state["precision"]["scale"]
    record_property("scale", scale)
    assert 2.0**4 <= scale <= 2.0**16  # 12 of 40 steps at most
    begun = train(name, cohorts, tmp_path / "begun", device, minutes=0, **options)
    assert "step 1 of 40" in begun.stopped
    for network, weights in state["networks"].items():
        first = begun.checkpoint["networks"][network]
        assert all(torch.isfinite(v).all() for v in weights.values() if v.is_floating_point()), network
        parameters = [k for k in weights if k.endswith(("weight", "original"))]
        assert any(not torch.equal(first[k], weights[k]) for k in parameters), network


def _scaled_on_cpu(monkeypatch):
    """The loop with 16-bit arithmetic on the CPU, which Fabric itself refuses there."""
    from volforge.training import loop
    from volforge.training.one_scale import OneScale

    def fabric(plan):
        torch.set_num_threads(plan.threads)
        made = loop.Fabric(accelerator="cpu", devices=1, plugins=[OneScale("cpu")])
        made.launch()
        return made

    monkeypatch.setattr(loop, "_fabric", fabric)


@pytest.mark.usefixtures("whole_fp32", "compiles")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_compiled_networks_lose_the_same(cohorts, device, tmp_path, name, record_property):
    compiled = train(name, cohorts, tmp_path / "compiled", device, compile=True, steps=2)
    wanted = train(name, cohorts, tmp_path / "plain", device, steps=2)
    record_property("apart", apart(compiled.losses, wanted.losses))
    assert_near(compiled.losses, wanted.losses, (1e-3, 1e-4))


@pytest.mark.usefixtures("whole_fp32")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_memory_layout_changes_no_loss(cohorts, device, tmp_path, name, record_property):
    found = [
        train(name, cohorts, tmp_path / str(layout), device, channels_last=layout).losses for layout in (True, False)
    ]
    record_property("apart", apart(*found))
    assert_near(*found, (1e-3, 1e-4))


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_resumed_training_is_as_an_uninterrupted_one(cohorts, device, tmp_path, name, precision, record_property):
    """Byte for byte on the CPU; on a GPU as near as its sums, whose order is not fixed."""
    options = {"precision": precision, "ema": 0.5}
    whole = train(name, cohorts, tmp_path / "whole", device, **options)
    begun = train(name, cohorts, tmp_path / "parts", device, minutes=0, **options)
    assert "step 1 of 4" in begun.stopped
    resumed = train(name, cohorts, tmp_path / "parts", device, **options)
    assert resumed.stopped == ""
    record_property("apart", apart(resumed.losses, whole.losses))
    if device == "cpu":
        assert (resumed.folder / "weights.safetensors").read_bytes() == (
            whole.folder / "weights.safetensors"
        ).read_bytes()
        assert resumed.history == whole.history
    else:
        assert_near(resumed.losses, whole.losses, (5e-3, 1e-3) if precision == "32-true" else MIXED)
        assert resumed.checkpoint["precision"] == whole.checkpoint["precision"]


def held(device: str) -> int:
    """Bytes of tensors that are alive."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        # what matrix products keep for themselves is no leak; the name is torch's own and may go
        getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
        return torch.cuda.memory_allocated()
    return sum(o.nbytes for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_training_leaves_no_memory_behind(cohorts, device, tmp_path, name, record_property):
    train(name, cohorts, tmp_path / "first", device, ema=0.5)  # what libraries keep for themselves is there then
    before = held(device)
    done = [train(name, cohorts, tmp_path / str(k), device, ema=0.5) for k in range(2)]
    left = held(device) - before
    record_property("bytes left", left)
    networks = sum(v.nbytes for state in done[0].checkpoint["networks"].values() for v in state.values())
    assert left < networks  # two trainings would leave at least twice that
