"""A whole-body MR translated by the full-size generator: memory, seconds a slice, and what the whole would take.

Usage: python benchmarks/translate_whole.py [--slices 4] [--views axial coronal] [--threads 1] [--device cpu]
       python benchmarks/translate_whole.py --whole axial FOLDER

The volume is the published one, 384 x 549 x 400 voxels (int16, 169 MB), drawn as an ellipsoid in noise; the weights
are random, which costs the same as trained ones. For each view only some slices in the middle hold a body, so that no
other one is passed through the network; all that goes with the whole volume (its window, the image that is made) is
done. Seconds of the whole are those of a slice times all of its slices: extrapolated, not seen.

With `--whole` the volume is written as NIfTI and translated whole, by `volforge model predict`, twice: in one job, and
in one that is killed at half and begun again. Both files must be the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from safetensors.torch import save_file

from volforge.config.models import SliceRecipe
from volforge.tasks.translation.apply import SLAB, load_generator, translated
from volforge.tasks.translation.canvas import Contrast
from volforge.tasks.translation.generator import make_generator
from volforge.tasks.translation.progress import Progress
from volforge.tasks.translation.settings import TranslationSettings
from volforge.volume.cut import AXES
from volforge.volume.folders import sha256_of, write_json
from volforge.volume.geometry import Grid

SHAPE = (384, 549, 400)
SPACING = (1.4, 1.0, 2.4)


def whole_body() -> tuple[np.ndarray, np.ndarray]:
    """Grey and body of an ellipsoid, drawn slice by slice."""
    rng = np.random.default_rng(0)
    image = np.empty(SHAPE, np.int16, order="F")
    body = np.empty(SHAPE, bool, order="F")
    x, y = (((np.arange(n) - (n - 1) / 2) / (n * 0.42)) ** 2 for n in SHAPE[:2])
    for z in range(SHAPE[2]):
        far = x[:, None] + y[None] + ((z - (SHAPE[2] - 1) / 2) / (SHAPE[2] * 0.49)) ** 2
        body[:, :, z] = far <= 1
        image[:, :, z] = np.where(far <= 1, 300 - 150 * far, 0) + rng.integers(0, 40, SHAPE[:2])
    return image, body


def model_in(folder: Path, view: str, network: dict[str, object]) -> Path:
    """A generator with random weights."""
    recipe = SliceRecipe(kind="slices", axis=view, ct_window={"kind": "hu", "low": -1000, "high": 1400})
    settings = TranslationSettings.of(
        {
            "task": "translation", "study": "", "arm": "", "model": view, "cohort": "", "by_fold": False,
            "kind": "translation",
            "recipe": "slices", "recipe_settings": json.loads(recipe.model_dump_json()),
            "source": {"modality": "MR", "contrast": None}, "target": {"modality": "CT", "contrast": None},
            "also": [], "context": 0, "network": network, "translation": {"method": "cycle"}, "training": {},
        }
    )  # fmt: skip
    torch.manual_seed(0)
    made = make_generator(settings)
    folder.mkdir()
    save_file(made.state_dict(), folder / "weights.safetensors")
    write_json(
        folder / "model.json", {**asdict(settings), "step": 0, "sha256": sha256_of(folder / "weights.safetensors")}
    )
    print(f"{sum(p.numel() for p in made.parameters()):,} parameters")
    return folder


def peak_gib(of: int = resource.RUSAGE_SELF) -> float:
    """Largest resident memory of this process so far, or of those that it has started."""
    return resource.getrusage(of).ru_maxrss / 2**20


def translate(folder: Path, out: str, threads: int, device: str, slabs: int = 0) -> float:
    """`volforge model predict` on the volume of a folder; s. Killed once so many slabs are kept, where more than 0.

    Raises:
        RuntimeError: It failed, or ended before it could be killed.
    """
    command = [
        sys.executable, "-m", "volforge", "model", "predict", "--image", "body.nii.gz", "--modality", "MR",
        "--weights", "model", "--out", out, "--device", device,
    ]  # fmt: skip
    start = time.perf_counter()
    with (folder / "log.txt").open("a") as log:
        log.write(f"{out}, {'killed after ' + str(slabs) + ' slabs' if slabs else 'to its end'}\n")
        log.flush()
        process = subprocess.Popen(command, cwd=folder, stderr=log, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        while process.poll() is None:
            time.sleep(1)
            if slabs and len(list((folder / f".{out}.unfinished").rglob("*.npz"))) >= slabs:
                process.send_signal(signal.SIGKILL)
                process.wait()
    if process.returncode != (-signal.SIGKILL if slabs else 0):
        raise RuntimeError(f"it ended by {process.returncode}: see {folder / 'log.txt'}")
    return time.perf_counter() - start


def whole(folder: Path, view: str, network: dict[str, object], threads: int, device: str) -> None:
    """Translate the volume in one job and in one that is killed and goes on; print both."""
    folder.mkdir(parents=True)
    image, _ = whole_body()
    nib.save(nib.Nifti1Image(image, np.diag([*SPACING, 1.0])), folder / "body.nii.gz")
    model_in(folder / "model", view, network)
    seconds = translate(folder, "at_once.nii.gz", threads, device)
    print(f"{view}, in one job: {seconds / 60:.1f} minutes, peak {peak_gib(resource.RUSAGE_CHILDREN):.2f} GiB")
    half = SHAPE[AXES[view]] // SLAB // 2
    first = translate(folder, "resumed.nii.gz", threads, device, half)
    kept = len(list((folder / ".resumed.nii.gz.unfinished").rglob("*.npz")))
    second = translate(folder, "resumed.nii.gz", threads, device)
    print(f"killed after {first / 60:.1f} minutes with {kept} slabs; the rest took {second / 60:.1f} minutes")
    made = [sha256_of(folder / name) for name in ("at_once.nii.gz", "resumed.nii.gz")]
    print(f"sha256 {' and '.join(m[:16] for m in made)}: {'the same' if made[0] == made[1] else 'NOT THE SAME'}")
    shown = np.asanyarray(nib.load(folder / "resumed.nii.gz").dataobj)
    print(f"{shown.shape} {shown.dtype}, {shown.min()} to {shown.max()} HU")
    if made[0] != made[1] or shown.shape != SHAPE:
        raise SystemExit(1)


def main() -> None:
    """Run the views and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--views", nargs="+", default=list(AXES))
    parser.add_argument("--whole", nargs=2, metavar=("VIEW", "FOLDER"), help="translate all of it, in a new folder")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = {"name": "resnet_generator", "width": options.width, "blocks": options.blocks}
    if options.whole:
        whole(Path(options.whole[1]), options.whole[0], network, options.threads, options.device)
        return
    image, body = whole_body()
    held = (image.nbytes + body.nbytes) / 2**30
    print(f"volume {SHAPE} and its mask: {held:.2f} GiB; peak so far {peak_gib():.2f} GiB")
    with tempfile.TemporaryDirectory() as scratch:
        for view in options.views:
            generator = load_generator(model_in(Path(scratch) / view, view, network), options.device)
            axis = AXES[view]
            first = (SHAPE[axis] - options.slices) // 2
            part = tuple(slice(first, first + options.slices) if a == axis else slice(None) for a in range(3))
            shown = np.zeros(SHAPE, bool, order="F")
            shown[part] = body[part]
            grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
            start = time.perf_counter()
            say = Progress(f"whole body ({view})")
            scan = Contrast(image, grid, shown, "arbitrary", 0.0, "whole body")
            made, _ = translated(generator, [scan], device=options.device, say=say)
            seconds = time.perf_counter() - start
            passed = int((made != -1024).any(axis=tuple(a for a in range(3) if a != axis)).sum())
            each = seconds / max(1, passed)
            minutes = each * SHAPE[axis] / 60
            print(f"{view}: {passed} of {SHAPE[axis]} slices in {seconds:.1f} s, {each:.2f} s a slice")
            print(f"  peak {peak_gib():.2f} GiB; extrapolated, not seen: {SHAPE[axis]} slices in {minutes:.0f} minutes")


if __name__ == "__main__":
    main()
