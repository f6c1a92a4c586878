"""The step of semantic synthesis: what one pass of the generator gives, who learns from what, exact resume."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from volforge.losses.adversarial import discriminator_loss
from volforge.losses.semantic import balanced_cross_entropy, class_weights
from volforge.tasks.semantic_synthesis.training import SemanticTask, SynthesisPlan, noise_of, one_hot, refresh
from volforge.training.loop import train
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.slices import Slice, outline_of
from volforge.training.stop import Stop
from volforge.training.task import Plan

CLASSES, SIDE = 4, 16


class Toy:
    """Slices made here: a disc of class 1 with a smaller one of class 2 in it."""

    shows_sides = True

    def __init__(self, count, seed, wants):
        generator = np.random.default_rng(seed)
        y, x = np.mgrid[:SIDE, :SIDE]
        self.slices = [Slice(f"s{seed}-{k}", f"p{seed}-{k}", 0) for k in range(count)]
        self.labels = np.zeros((count, SIDE, SIDE), np.uint8)
        for k in range(count):
            r = np.hypot(y - 8 - generator.uniform(-1, 1), x - 8 - generator.uniform(-1, 1))
            self.labels[k][r < 6] = 1
            self.labels[k][r < 3] = 2
        self.images = np.array([-1.0, 0.0, 0.6, 0.9], np.float32)[self.labels]
        self.images += generator.normal(0, 0.05, self.images.shape).astype(np.float32)
        self.wants = wants

    def __len__(self):
        return len(self.slices)

    @property
    def size(self):
        return SIDE, SIDE

    def item(self, k):
        found = {"image": self.images[k][None]} if "image" in self.wants else {}
        if "labels" in self.wants:
            found |= {"labels": self.labels[k][None], "body": outline_of(self.labels[k])[None]}
        return found


def plan(mode="unpaired", **more):
    return SynthesisPlan(
        mode,
        CLASSES,
        {"name": "oasis_generator", "width": 1, "noise": 3, "blocks": 3, "hidden": 4},
        {"name": "oasis_segmenter", "width": 2, "levels": 2},
        {"name": "wavelet_discriminator", "width": 2, "most": 4},
        **more,
    )


def task(mode="unpaired", **more):
    both, labels, image = ("image", "labels"), ("labels",), ("image",)
    return SemanticTask(
        plan(mode, **more),
        0,
        Toy(6, 1, both if mode == "paired" else labels),
        None if mode == "paired" else Toy(6, 2, image),
        Toy(2, 3, both) if mode == "semi" else None,
        4,
        SliceAugmentation(turn=5),
        {"mode": mode},
    )


class Hands:
    """Hands that keep gradients and move nothing."""

    device = torch.device("cpu")
    progress = 0.0

    def __init__(self, networks, rank=0):
        self.networks, self.updates, self.grads, self.rank = networks, [], {}, rank

    def backward(self, loss):
        loss.backward()

    def bare(self, network):
        return network

    def update(self, name):
        self.updates.append(name)
        self.grads[name] = [None if p.grad is None else p.grad.clone() for p in self.networks[name].parameters()]
        self.networks[name].zero_grad(set_to_none=True)


def batch_of(one, first=0):
    samples = [one.sample(first + i) for i in range(4)]
    return {k: torch.stack([s[k] for s in samples]) for k in samples[0]}


def made(one, seed=0):
    torch.manual_seed(seed)
    networks = one.networks()
    for network in networks.values():
        network.train()
        for part in network.modules():
            if isinstance(part, nn.Conv2d) and not hasattr(part, "parametrizations"):
                nn.init.normal_(part.weight, 0, 0.2)  # the published beginning is too small to tell gradients apart
    return networks


@pytest.mark.parametrize(
    ("mode", "updates"),
    [
        ("unpaired", ["generator", "segmenter", "discriminator"]),
        ("semi", ["generator", "segmenter", "discriminator"]),
        ("paired", ["generator", "segmenter", "discriminator"]),
    ],
)
def test_every_network_moves_once_per_step(mode, updates):
    one = task(mode)
    networks = made(one)
    hands = Hands(networks)
    logged = one.step(networks, batch_of(one), 0, hands)
    assert hands.updates == updates
    assert all(torch.isfinite(v).all() for v in logged.values())
    for name in updates:
        assert any(g is not None and bool((g != 0).any()) for g in hands.grads[name]), name
        assert all(p.grad is None and p.requires_grad for p in networks[name].parameters())


def test_scores_of_real_images_do_not_depend_on_painted_ones():
    """The discriminator shows its last level the spread of a batch: of painted images, or of real ones."""
    one = task(penalty=0.0)
    networks = made(one)
    judge, batch = copy.deepcopy(networks["discriminator"]), batch_of(one)
    fake = copy.deepcopy(networks["generator"])(one_hot(batch["labels"][:, 0].long(), CLASSES), batch["noise"])
    apart = discriminator_loss(judge(fake), judge(batch["other_image"]))
    together = judge(torch.cat([fake, batch["other_image"]]))
    logged = one.step(networks, batch, 1, Hands(networks))
    assert torch.allclose(logged["discriminator"], apart, rtol=1e-5)
    assert not torch.allclose(apart, discriminator_loss(together[:4], together[4:]), rtol=1e-3)


def test_every_process_mixes_other_classes():
    one = task("paired")
    networks, batch = made(one), batch_of(one)
    copies = [copy.deepcopy(networks) for _ in range(4)]
    steps = (one.step(n, batch, 0, Hands(n, rank)) for n, rank in zip(copies, (0, 0, 1, 2), strict=True))
    found = [float(s["label_mix"].detach()) for s in steps]
    assert found[0] == found[1]
    assert len(set(found)) > 1


def test_one_way_back_gives_the_segmenter_the_gradient_of_its_own_loss():
    """In `unpaired` the shared pass must equal a second one on the generator's image."""
    one = task(adversarial=0.0, outline=0.0)
    networks = made(one)
    copies = copy.deepcopy(networks)
    batch = batch_of(one)
    hands = Hands(networks)
    one.step(networks, batch, 0, hands)
    labels = batch["labels"][:, 0].long()
    with torch.no_grad():
        fake = copies["generator"](one_hot(labels, CLASSES), batch["noise"])
    weights = class_weights(labels, CLASSES)
    balanced_cross_entropy(copies["segmenter"](fake), labels, weights).backward()
    for found, parameter in zip(hands.grads["segmenter"], copies["segmenter"].parameters(), strict=True):
        assert torch.allclose(found, parameter.grad, atol=1e-6)


def test_with_pairs_the_segmenter_learns_nothing_from_the_generator_s_loss():
    one = task("paired", label_mix=0.0)
    networks = made(one)
    copies = copy.deepcopy(networks)
    batch = batch_of(one)
    hands = Hands(networks)
    logged = one.step(networks, batch, 0, hands)
    assert {"segmenter_real", "segmenter_fake", "label_mix"} <= set(logged)
    other = task("paired", label_mix=0.0, segment=100.0)  # the generator's weight alone
    again = Hands(copies)
    other.step(copies, batch, 0, again)
    for a, b in zip(hands.grads["segmenter"], again.grads["segmenter"], strict=True):
        assert torch.allclose(a, b)


def test_moments_and_variety_are_logged_and_move_the_generator_alone():
    plain, both = task("paired"), task("paired", moments=5.0, variety=2.0)
    networks = made(plain)
    copies = copy.deepcopy(networks)
    hands, others = Hands(networks), Hands(copies)
    seen = batch_of(both)
    assert "again_noise" in seen
    assert "again_noise" not in batch_of(plain)
    assert {"moments", "variety"} <= set(both.step(copies, seen, 4, others))
    plain.step(networks, seen, 4, hands)
    a, b = (torch.cat([g.flatten() for g in h.grads["generator"]]) for h in (hands, others))
    assert not torch.allclose(a, b)


def test_with_grain_two_samples_of_a_map_share_their_latent():
    one = task("paired", variety=2.0)
    one.plan = replace(one.plan, generator={**one.plan.generator, "grain": 2})
    batch = batch_of(one)
    first, second = noise_of(batch), noise_of(batch, "again_")
    assert torch.equal(first[:, :3], second[:, :3])
    assert not torch.isclose(first[:, 3:], second[:, 3:]).any()
    noise = np.stack([batch["grain"].numpy(), batch["again_grain"].numpy()]).reshape(2, -1)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1


def test_variety_does_not_change_what_else_is_drawn():
    plain, various = task("paired").sample(3), task("paired", variety=1.0).sample(3)
    assert all(torch.equal(v, various[k]) for k, v in plain.items())


def test_the_penalty_is_due_every_few_steps_and_weighted_for_them():
    one = task(penalty_every=4)
    networks = made(one)
    batch = batch_of(one)
    found = []
    for step, weight in ((0, 10.0), (1, 10.0), (0, 0.0)):
        one = task(penalty_every=4, penalty=weight)
        hands = Hands(copy.deepcopy(networks))
        one.step(hands.networks, batch, step, hands)
        found.append(torch.cat([g.flatten() for g in hands.grads["discriminator"]]))
    assert not torch.allclose(found[0], found[2])
    assert torch.allclose(found[1], found[2])


def test_a_judge_chooses_the_weights(tmp_path):
    worth = iter([0.1, 0.9, 0.2])
    seen = []

    def judge(generator, device):
        assert not generator.training
        seen.append(torch.cat([p.flatten() for p in generator.state_dict().values()]).clone())
        return {"score": next(worth)}

    one = task()
    one.judge = judge
    done = train(one, Plan(6, 4, ema={"generator": 0.5}, validate_every=2), 0, tmp_path, Stop())
    assert done.step == 4
    assert torch.equal(torch.cat([p.flatten() for p in done.weights["generator"].values()]), seen[1])


def test_refreshed_statistics_are_those_of_the_weights():
    one = task()
    generator = made(one)["generator"]
    norm = next(m for m in generator.modules() if isinstance(m, nn.BatchNorm2d))
    before = {k: v.clone() for k, v in generator.state_dict().items() if "running" not in k and "num_batches" not in k}
    norm.running_mean.fill_(9.0)
    refresh(generator, one, torch.device("cpu"), batches=3)
    first = norm.running_mean.clone()
    assert float(first.abs().max()) < 5
    refresh(generator, one, torch.device("cpu"), batches=3)
    assert torch.equal(first, norm.running_mean)
    assert norm.momentum == 0.1
    assert generator.training
    after = generator.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())  # spectral norms neither


@pytest.mark.parametrize("stop_at", [3, 6])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, stop_at):
    plans = {
        steps: Plan(steps, 4, ema={"generator": 0.9}, validate_every=4, checkpoint_seconds=1e9)
        for steps in (stop_at, 8)
    }
    whole = train(task(), plans[8], 0, tmp_path / "whole", Stop())
    # a shorter plan leaves a checkpoint at its last step
    train(task(), plans[stop_at], 0, tmp_path / "parts", Stop())
    rest = train(task(), plans[8], 0, tmp_path / "parts", Stop())
    assert rest.steps == whole.steps == 8
    for name, weights in whole.weights.items():
        for key, value in weights.items():
            assert torch.equal(value, rest.weights[name][key]), (name, key)


@pytest.mark.slow
def test_a_tiny_generator_learns_to_paint_discs(tmp_path):
    """Bright where the map is 2, dark outside, after some hundred steps without any pair."""
    one = task(rates={"generator": 2e-3, "segmenter": 2e-3, "discriminator": 2e-3})
    done = train(one, Plan(400, 4, ema={"generator": 0.95}, validate_every=400), 0, tmp_path, Stop())
    generator = one.networks()["generator"]
    generator.load_state_dict(done.weights["generator"])
    generator.eval()
    labels = torch.from_numpy(Toy(4, 9, ("labels",)).labels).long()
    with torch.no_grad():
        image = generator(one_hot(labels, CLASSES), torch.randn(4, 3))[:, 0]
    means = [float(image[labels == k].mean()) for k in range(3)]
    assert means[0] < -0.7
    assert means[0] + 0.4 < min(means[1:])


def test_modes_and_data_must_fit():
    with pytest.raises(ValueError, match="no mode"):
        task("upaired")
    with pytest.raises(ValueError, match="lacks data"):
        SemanticTask(plan(), 0, Toy(2, 0, ("labels",)), None, None, 2, SliceAugmentation(), {})
    bare = SynthesisPlan("unpaired", CLASSES, {"name": "oasis_generator"}, {"name": "oasis_segmenter"}, None)
    with pytest.raises(ValueError, match="needs a discriminator"):
        SemanticTask(bare, 0, Toy(2, 0, ("labels",)), Toy(2, 1, ("image",)), None, 2, SliceAugmentation(), {})


def test_samples_are_drawn_by_number_and_both_domains_apart():
    one = task()
    a, b, c = one.sample(5), one.sample(5), one.sample(6)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["noise"], c["noise"])
    assert set(a) == {"index", "labels", "body", "other_image", "noise"}
    assert set(task("paired").sample(0)) == {"index", "labels", "body", "image", "noise"}


def test_augmentation_moves_image_and_map_alike():
    toy = Toy(3, 4, ("image", "labels"))
    moved = SliceAugmentation(turn=10, scale=0.1, shift=0.03)
    for seed in range(5):
        found = moved(toy.item(0), seed)
        inner = found["labels"][0] == 2
        assert found["labels"].dtype == torch.uint8
        assert float(found["image"][0][inner].mean()) > 0.4
        assert float(found["image"][0][found["labels"][0] == 0].mean()) < -0.7


def test_a_flip_exchanges_the_classes_of_the_sides_and_only_where_sides_show():
    item = {"labels": np.array([[[1, 0, 0, 2]]], np.uint8)}
    flips = SliceAugmentation(flip=True, turn=0, scale=0, shift=0, mirrored=[0, 2, 1])
    seen = {tuple(flips(item, seed)["labels"].flatten().tolist()) for seed in range(12)}
    assert seen == {(1, 0, 0, 2)}  # flipped and exchanged is the same here
    plain = SliceAugmentation(flip=True, turn=0, scale=0, shift=0)
    assert {tuple(plain(item, s)["labels"].flatten().tolist()) for s in range(12)} == {(1, 0, 0, 2), (2, 0, 0, 1)}
    assert {tuple(plain(item, s, False)["labels"].flatten().tolist()) for s in range(12)} == {(1, 0, 0, 2)}
