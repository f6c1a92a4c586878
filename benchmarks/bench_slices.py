"""Slices of a 512x512x200 CT: written and read by the store, by RGB PNG files (the published pipeline), by zarr.

All in one run on the same volume; store and PNG on one thread, zarr as it comes.
Results are checked before a ratio is printed. The published
pipeline stretches every slice to 8 bit and writes it as RGB PNG; the store keeps HU (int16) by slice.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from volforge.config.models import SliceRecipe
from volforge.volume.cut import stored_values, to_stack
from volforge.volume.legacy_threshold import stretch_slice
from volforge.volume.store import open_array, write_array

REPEATS = 5
READS = 200


def ct() -> np.ndarray:
    """A body of textured tissue with bone and lung in air, int16 HU, 60 % air outside."""
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[-1:1:512j, -1:1:512j, -1:1:200j]
    volume = np.full((512, 512, 200), -1024, np.int16)
    body = (x / 0.75) ** 2 + (y / 0.55) ** 2 + 0.05 * z**2 < 1
    volume[body] = rng.normal(40, 25, int(body.sum())).astype(np.int16)
    lung = ((np.abs(x) - 0.3) / 0.2) ** 2 + (y / 0.35) ** 2 + z**2 < 1
    volume[lung & body] = rng.normal(-800, 60, int((lung & body).sum())).astype(np.int16)
    bone = np.abs(np.sqrt((x / 0.65) ** 2 + (y / 0.46) ** 2) - 1) < 0.02
    volume[bone & body] = rng.normal(700, 120, int((bone & body).sum())).astype(np.int16)
    return np.asfortranarray(volume)


def median(action: Callable[[], object]) -> float:
    """Median seconds of an action after one warm-up."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return sorted(times)[REPEATS // 2]


def main() -> None:
    """Print the table, and fail if the store is not as fast as the project promises."""
    import zarr

    volume = ct()
    order = np.random.default_rng(1).permutation(np.arange(READS) % 200)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def write_store() -> None:
            stored, _ = stored_values(volume, None, "CT", "hu", SliceRecipe(kind="slices"))
            stack = to_stack(stored, 2)
            (folder / "s.b2nd").unlink(missing_ok=True)
            write_array(folder / "s.b2nd", stack, (1, 512, 512))

        def write_png() -> None:
            for k in range(200):
                levels = stretch_slice(volume[:, :, k].T[::-1, ::-1])
                Image.fromarray(np.repeat(levels[:, :, None], 3, axis=2)).save(folder / f"{k}.png")

        def write_zarr() -> None:
            stack = np.ascontiguousarray(to_stack(volume, 2))
            array = zarr.create_array(
                store=str(folder / "s.zarr"), shape=stack.shape, chunks=(1, 512, 512), dtype="i2", overwrite=True
            )
            array[:] = stack

        def read_store() -> None:
            array = open_array(folder / "s.b2nd")
            for k in order:
                array[int(k)]

        def read_png() -> None:
            for k in order:
                np.asarray(Image.open(folder / f"{k}.png").convert("RGB"))

        def read_zarr() -> None:
            array = zarr.open_array(str(folder / "s.zarr"), mode="r")
            for k in order:
                array[int(k)]

        written = {"store": median(write_store), "RGB PNG": median(write_png), "zarr": median(write_zarr)}
        read = {"store": median(read_store), "RGB PNG": median(read_png), "zarr": median(read_zarr)}
        expected = np.clip(to_stack(volume, 2), -1024, 1500)
        assert np.array_equal(open_array(folder / "s.b2nd")[:], expected), "the store changed values"
        assert np.array_equal(zarr.open_array(str(folder / "s.zarr"), mode="r")[:], to_stack(volume, 2))
        png = np.asarray(Image.open(folder / "100.png"))[:, :, 0]
        assert np.array_equal(png, stretch_slice(to_stack(volume, 2)[100])), "the PNG changed values"
        size = {
            "store": (folder / "s.b2nd").stat().st_size,
            "RGB PNG": sum(p.stat().st_size for p in folder.glob("*.png")),
            "zarr": sum(p.stat().st_size for p in (folder / "s.zarr").rglob("*") if p.is_file()),
        }
    print("512x512x200 CT             write s  (ratio)   200 random reads s  (ratio)   MiB")
    for kind, seconds in written.items():
        print(
            f"{kind:24s} {seconds:9.3f}  {seconds / written['store']:6.1f} "
            f"{read[kind]:16.3f}  {read[kind] / read['store']:13.1f} {size[kind] / 2**20:12.1f}"
        )
    if written["RGB PNG"] < 20 * written["store"] or read["RGB PNG"] < 5 * read["store"]:
        sys.exit("the store is slower than promised: 20 times faster written, 5 times faster read than RGB PNG")


if __name__ == "__main__":
    main()
