"""Training on the hippocampus cohort for the same minutes: ours against a plain MONAI loop, mean Dice of held-out ones.

Usage: python benchmarks/equal_time.py [--minutes 5]. It needs the cohort of config/examples/msd_hippocampus.yaml.

Our arm against MONAI's U-Net with DiceCELoss and Adam in a loop as tutorials write it, on the same subjects: the 40
held-out ones of fold 0. What loading and augmentation cost is a row of `make bench` (bench_training.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config/examples/msd_hippocampus.yaml"
WHOLE = (48, 64, 48)  # voxels that hold every crop
SCANS = Path("results/cohorts/hippocampus/scans.tsv")
SETTINGS = Path("results/studies/hippocampus_segmentation/volforge/both.train.json")


def prepare() -> bool:
    if not (ROOT.parent / "shared/data/msd_hippocampus").is_dir():
        print("skipped: the hippocampus cohort is not beside the project")
        return False
    targets = [SCANS.parent / "recipes/whole/index.tsv", SETTINGS]
    words = ["--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/local", *targets, "--configfile", CONFIG]
    subprocess.run([sys.executable, "-m", "snakemake", *map(str, words)], check=True)
    return True


def regions(settings, fold: int = 0):
    from volforge.study.jobs import TrainJob
    from volforge.tasks.segmentation.train import regions_of

    return regions_of(settings, TrainJob(SCANS, fold, 0, Path("unused"), Path("unused")))


def make_task(settings):
    from volforge.tasks.segmentation.training import SegmentationTask

    training, validation, _ = regions(settings)
    return SegmentationTask(settings, 0, training, validation, {"benchmark": True})


def dice_of(settings, network, patch, fold: int = 0, precision: str = "32-true", flips=()) -> list[float]:
    """Mean Dice over both parts of every held-out subject."""
    import torch

    from volforge.inference.windows import probabilities
    from volforge.study.cases import Cohort
    from volforge.tasks.segmentation.training import dice_by_class
    from volforge.training.regions import Regions

    rows = [r for r in Cohort(SCANS).rows if r["fold"] == str(fold)]
    held = Regions(settings, SCANS.parent / "recipes/whole", rows)
    network.eval()
    values = []
    with torch.inference_mode():
        for region in held.regions:
            cut = held.cut(region, np.zeros(3, int), region.shape)
            image = torch.from_numpy(cut["image"])[None]
            found = probabilities(network, image, patch, flips=flips, precision=precision)
            labels = torch.from_numpy(cut["labels"]).long()
            values.append(float(np.mean(list(dice_by_class(found.argmax(dim=1), labels, 3).values()))))
    return values


def plain_monai(settings, minutes: float) -> list[float]:
    """MONAI's U-Net as a tutorial trains it, for this long."""
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    torch.set_num_threads(settings.training["threads"])
    training, _, _ = regions(settings)
    middle = [-((np.array(WHOLE) - r.shape) // 2) for r in training.regions]  # padded as it will be for prediction
    cuts = [training.cut(r, start, WHOLE) for r, start in zip(training.regions, middle, strict=True)]
    images, labels = (torch.from_numpy(np.stack([c[k] for c in cuts])) for k in ("image", "labels"))
    network = UNet(3, 1, 3, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=2)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    until, steps = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < until:
        pick = torch.randint(len(images), (2,))
        optimizer.zero_grad()
        loss(network(images[pick]), labels[pick]).backward()
        optimizer.step()
        steps += 1
    print(f"plain MONAI loop: {steps} steps in {minutes} min")
    return dice_of(settings, network, WHOLE)


def ours(settings, minutes: float) -> list[float]:
    """Our arm with as many steps as fit into this long."""
    from dataclasses import replace

    from volforge.inference.model import make_network
    from volforge.study.jobs import TrainJob
    from volforge.tasks.segmentation.train import plan_of
    from volforge.training.loop import train
    from volforge.training.stop import Stop

    def go(steps: int):
        training = {**settings.training, "steps": steps, "validate_every": -(-steps // 4)}
        chosen = replace(settings, training=training)
        with tempfile.TemporaryDirectory() as folder:
            job = TrainJob(SCANS, 0, 0, Path(folder), Path("unused"))
            return train(make_task(chosen), plan_of(chosen, job), 0, Path(folder), Stop())

    short, long = go(10), go(90)  # the difference is steps alone: no start, no first touch of memory
    began = time.monotonic()
    done = go(max(20, int((60 * minutes - short.seconds) * 80 / (long.seconds - short.seconds) * 0.95)))
    print(f"ours: {done.steps} steps in {(time.monotonic() - began) / 60:.2f} min, loading included")
    network = make_network(settings)
    network.load_state_dict(done.weights["network"])
    patch = settings.training["patch"]
    return dice_of(settings, network, patch, precision=settings.training["precision"], flips=(0,))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    minutes = parser.parse_args().minutes
    if not prepare():
        return
    from volforge.inference.model_settings import ModelSettings

    settings = ModelSettings.of(json.loads(SETTINGS.read_text()))
    a, b = np.array(ours(settings, minutes)), np.array(plain_monai(settings, minutes))
    gain = a - b
    draws = np.random.default_rng(0).choice(gain, (10_000, len(gain))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    print(
        f"{minutes} min each, {len(a)} subjects: ours {a.mean():.4f}, plain MONAI {b.mean():.4f}, "
        f"gain {gain.mean():+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
    )


if __name__ == "__main__":
    main()
