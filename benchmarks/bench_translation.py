"""Translation: a scan slice by slice against bare passes of the same network, and a painted step against a plain one.

The bare passes are limits: what is cut, stitched and written back, and what is painted, comes on top of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import Peer, Row, Scale, close


def cohort_of(folder: Path, side: int) -> Any:
    """Slices of drawn heads in CT, as a training sees them."""
    from tests.conftest import save
    from tests.study.cohorts import imported

    from volforge.config.models import SliceRecipe
    from volforge.study.cases import Cohort
    from volforge.tasks.translation.slices import SliceSet
    from volforge.volume.cut_scan import cut_scan

    shape = (side, side, 12)
    r = np.hypot(*(np.indices(shape[:2]) - (side - 1) / 2))[..., None] + 0 * np.arange(shape[2])
    lines = ["subject\tscan\tmodality\tunit\timage\tsplit"]
    for i in range(3):
        radius = 0.36 * side + i
        parts = [r > radius, r > 0.85 * radius, r > 0.3 * radius, r >= 0]
        noise = np.random.default_rng(i).normal(0, 5, shape)
        hu = np.rint(np.select(parts, [-1000.0, 900.0, 40.0, 10.0]) + (r <= radius) * noise).astype(np.int16)
        save(folder / f"s{i}.nii.gz", hu, np.diag([200 / side, 200 / side, 3.0, 1.0]))
        lines.append(f"p{i}\ts{i}\tCT\thu\ts{i}.nii.gz\t{'test' if i == 2 else 'val' if i else 'train'}")
    scans = imported(folder, lines, {})
    recipe = SliceRecipe(kind="slices", size=[side, side], ct_window={"kind": "hu", "low": -1000, "high": 1400})
    for scan in (scans.parent / "scans").iterdir():
        cut_scan(scan, recipe, scans.parent / "recipes" / "slices" / scan.name)
    return SliceSet(scans.parent / "recipes" / "slices", Cohort(scans).rows)


def rows(scale: Scale) -> Iterator[Row]:
    import torch
    from tests.tasks.translation.made import settings
    from tests.tasks.translation.models import model_in

    from benchmarks.bench_synthesis import Hands
    from volforge.losses.bone import bone_loss
    from volforge.tasks.translation.apply import load_generator, translated
    from volforge.tasks.translation.canvas import Contrast
    from volforge.tasks.translation.regression import RegressionTask
    from volforge.training.slice_augment import SliceAugmentation
    from volforge.volume.geometry import Grid

    torch.set_num_threads(1)
    side, count = scale.of((192, 24), (32, 4))
    network = {"width": scale.of(16, 4), "blocks": 3}
    model = model_in(scale.folder / "model", "resnet_generator", recipe={"axis": "axial"}, **network)
    generator = load_generator(model)
    grid = Grid((side, side, count), np.diag([1.0, 1.0, 2.0, 1.0]))
    image = np.random.default_rng(0).integers(0, 400, grid.shape).astype(np.float32)
    body = np.ones(grid.shape, bool)

    def ours() -> np.ndarray:
        return translated(generator, [Contrast(image, grid, body, "arbitrary", 0.0, "drawn")])[0]

    # what the networks see: the window of the image, as the source cuts it
    from volforge.tasks.translation.canvas import Source, canvas_of

    canvas = canvas_of(grid, generator.recipe, body, int(getattr(generator.network, "divisor", 1)), "drawn")
    source = Source([Contrast(image, grid, body, "arbitrary", 0.0, "drawn")], generator.recipe, canvas)
    stacks = torch.from_numpy(np.ascontiguousarray(source.slab(0, canvas.count, 0)[0]))

    def bare() -> np.ndarray:
        with torch.inference_mode():
            return torch.cat([generator.network(stacks[k : k + 1, None]) for k in range(len(stacks))])[:, 0].numpy()

    def same_values(mine: np.ndarray, theirs: np.ndarray) -> str:
        from volforge.volume.cut import from_stack

        low, high = generator.settings.window
        unit = np.clip(low + (np.clip(theirs, -1, 1) + 1) * (high - low) / 2, low, high)
        volume = canvas.back(from_stack(unit.astype(np.float32), canvas.axis), 0, canvas.count, float(low))
        off = np.abs(volume - mine)
        assert off.max() <= 1.01, f"{off.max():.2f} HU"
        return "equal, rounded to HU"

    yield Row(
        f"a scan of {side}x{side}x{count} slice by slice, residual generator",
        ours,
        (Peer("bare passes of the network", bare, same_values, is_limit=True),),
        turns=7,
    )

    edge = scale.of(128, 32)
    targets = cohort_of(scale.folder / "heads", edge)
    plan = settings(network={"name": "resnet_generator", **network})
    augmentation = SliceAugmentation(flip=False, turn=0, scale=0, shift=0)
    task = RegressionTask(plan, 3, targets, None, None, augmentation, {"seed": 3})
    torch.manual_seed(0)
    mine = task.networks()
    plain = copy.deepcopy(mine)
    own, other = task.optimizers(mine), task.optimizers(plain)
    hands: Any = Hands(own)
    ready = task.collate([task.sample(k) for k in (0, 1)])

    def painted() -> float:
        """Two images painted, and a step on them."""
        batch = task.collate([task.sample(k) for k in (0, 1)])
        return float(task.step(mine, batch, 0, hands)["l1"].detach())

    def on_ready() -> float:
        """A step of plain torch on images that are there."""
        loss = bone_loss(
            plain["generator"](ready["image"]), ready["target"], plan.window,
            float(plan.translation["bone"]), float(plan.translation["edges"]), None,
        )  # fmt: skip
        loss.backward()
        other["generator"][0].step()
        other["generator"][0].zero_grad(set_to_none=True)
        return float(loss.detach())

    yield Row(
        f"a training step with two painted images of {edge}x{edge}",
        painted,
        (Peer("a plain step on images that are ready", on_ready, close(1e-5), is_limit=True),),
    )
