"""One real optimiser step of every network of config/papers/negative_volume.yaml, at the paper's size.

Usage: python benchmarks/paper_steps.py [cpu|cuda]. Prints parameters, time and peak memory of a process of its own for
each, and whether the step lowered the loss of its batch.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

NETWORKS = {
    "unet3d": ({"name": "unet3d"}, {"name": "ce"}, [144, 112, 64], 1),
    "unet3d_attention": ({"name": "unet3d", "attention": True}, {"name": "ce"}, [144, 112, 64], 1),
    "vnet": ({"name": "vnet"}, {"name": "dice_hardforward_ce"}, [144, 112, 64], 1),
    "volforge": ({"name": "residual_unet", "width": 32, "levels": 5}, {"name": "dice_ce"}, [128, 112, 80], 2),
}


def step(name: str, device: str) -> dict[str, object]:
    import torch

    from volforge import components

    network, loss, patch, batch = NETWORKS[name]
    torch.manual_seed(0)
    classes = 4 if name == "volforge" else 2
    net = components.build("network", network, channels=1, classes=classes, spacing_mm=None).to(device).train()
    criterion = components.build("loss", loss)
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    image = torch.randn(batch, 1, *patch, device=device)
    labels = (image[:, 0] > 1).long()

    def coarse(labels, shape):
        steps = [n // m for n, m in zip(labels.shape[1:], shape, strict=True)]
        return labels[:, :: steps[0], :: steps[1], :: steps[2]]

    def value():
        found = net(image)
        outputs = found if isinstance(found, list) else [found]
        return sum(criterion(x.float(), coarse(labels, x.shape[2:])) for x in outputs)

    start = time.perf_counter()
    before = value()
    before.backward()
    optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = (
        torch.cuda.max_memory_allocated() / 2**30
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    parameters = sum(p.numel() for p in net.parameters())
    with torch.no_grad():
        after = float(value())
    return {
        "network": name, "parameters": parameters, "patch": patch, "batch": batch, "seconds": round(seconds, 2),
        "peak_memory_gib": round(peak, 2), "loss_before": round(float(before.detach()), 4),
        "loss_after": round(after, 4),
    }  # fmt: skip


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    if len(sys.argv) > 2:
        print(json.dumps(step(sys.argv[2], device)))
        return
    for name in NETWORKS:
        # a process each: the peak of memory is that of one network
        words = [sys.executable, __file__, device, name]
        print(subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
