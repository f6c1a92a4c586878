"""Rays that walk on a GPU against the compiled ones on one core: time, and whether they find the same voxels.

Usage: python -m benchmarks.gpu.walks --out walks.jsonl [--device cuda] [--small]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from tests.shape.joints import joint

from volforge.shape import rays_gpu
from volforge.shape.bones import bones_of
from volforge.shape.inflate import Inflated, inflate

R_MAX_MM = 14.0
TURN = (8.0, -5.0, 12.0)  # of the grid: no plane of the joint is a plane of voxels


def timed(bones, rounds: int) -> tuple[float, Inflated]:
    """Least time of some inflations; the first one, which compiles or starts the GPU, does not count."""
    inflate(replace(bones), "ray", R_MAX_MM)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = inflate(replace(bones), "ray", R_MAX_MM)  # without what it remembers
        times.append(time.perf_counter() - began)
    return min(times), found


def main() -> None:
    """Both, on finer and finer grids."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if options.device == "cpu":
        rays_gpu.device_of = lambda accelerator: torch.device("cpu")
    for step in (0.8,) if options.small else (0.4, 0.3, 0.2):
        one = joint((step, step, step), turn=TURN)
        made = [bones_of(one.condyle, one.barrier, None, one.grid, step_mm=step, accelerator=a) for a in ("cpu", "gpu")]
        (here_s, here), (there_s, there) = (timed(b, 1 if options.small else 3) for b in made)
        row = {
            "step_mm": step,
            "voxels": int(np.count_nonzero(made[0].in_cube)),
            "found": int(here.space.sum()),
            "compiled_s": here_s,
            "gpu_s": there_s,
            "differ": int((here.space != there.space).sum() + (here.joint_space != there.joint_space).sum()),
        }
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
