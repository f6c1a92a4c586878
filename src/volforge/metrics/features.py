"""Features of slices by a named, hashed network; what the distribution measures are computed from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.volume.folders import sha256_of
from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from volforge.networks.alexnet_lpips import Lpips

BATCH = 32
LEAST_BODY = 0.01  # share of a slice that must be body


@dataclass(frozen=True)
class FeatureNetwork:
    """A frozen network.

    Attributes:
        name: `inception` or `slice_encoder`.
        sha256: Hash of its weights.
        compute: Slices (N, H, W), 0 to 1, to features (N, D).
    """

    name: str
    sha256: str
    compute: Callable[[Array], Array]

    def measure(self, kind: str) -> str:
        """Name of a measure: `fid` and `kid` for Inception only, else after the network."""
        if self.name == "inception":
            return {"frechet": "fid", "kernel": "kid"}.get(kind, f"{kind}_inception")
        return f"{kind}_{self.name}"


def inception(path: Path) -> FeatureNetwork:
    """Inception-v3 with the FID weights (checked by `volforge.weights`)."""
    from volforge.networks.inception import FidInception
    from volforge.weights import fill, load_state

    network = fill(FidInception(), load_state(path), path)
    return FeatureNetwork("inception", sha256_of(path), _in_batches(network))


def slice_encoder(path: Path) -> FeatureNetwork:
    """A study's own encoder, from its weights.safetensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from volforge.errors import VolforgeError
    from volforge.networks.slice_encoder import SliceEncoder

    network = SliceEncoder()
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        remedy = "name the weights.safetensors of a study's slice_encoder"
        raise VolforgeError(f"not the weights of a slice encoder: {error}", str(path), remedy) from error
    return FeatureNetwork("slice_encoder", sha256_of(path), _in_batches(network))


def _in_batches(network) -> Callable[[Array], Array]:  # type: ignore[no-untyped-def]
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)

    def compute(slices: Array) -> Array:
        found = []
        with torch.inference_mode():
            for start in range(0, len(slices), BATCH):
                part = torch.from_numpy(np.ascontiguousarray(slices[start : start + BATCH], np.float32))
                found.append(network(part[:, None].to(device)).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    return compute


def axial_slices(volume: Array, body: Array, window: Sequence[float], side: int | None = None) -> Array:
    """Axial slices that show body, windowed to 0 to 1 and padded to squares.

    Args:
        volume: (X, Y, Z).
        body: Body mask: decides which slices are taken.
        window: Values that become 0 and 1.
        side: Resize to this many pixels by area (None: keep).

    Returns:
        (N, S, S) float32.
    """
    planes = np.flatnonzero(body.mean(axis=(0, 1)) >= LEAST_BODY)
    low, high = window
    size = max(volume.shape[:2])
    found = np.zeros((len(planes), size, size), np.float32)
    x, y = ((size - n) // 2 for n in volume.shape[:2])
    values = np.clip((volume[:, :, planes].astype(np.float32) - low) / (high - low), 0, 1)
    found[:, x : x + volume.shape[0], y : y + volume.shape[1]] = np.moveaxis(values, 2, 0)
    if side is None or side == size:
        return found
    import torch
    from torch.nn import functional

    resized = functional.interpolate(torch.from_numpy(found)[:, None], size=(side, side), mode="area")
    return np.asarray(resized[:, 0].numpy())


def cached_features(network: FeatureNetwork, key: object, make: Callable[[], Array], cache: Path | None) -> Array:
    """Features of a reference set, computed once for a network and a content.

    Args:
        network: The network.
        key: What the slices are made of (hashes of scans, window), as JSON.
        make: Makes the slices.
        cache: Folder of the cache; None computes anew.
    """
    import hashlib
    import io

    text = json.dumps([network.sha256, key], sort_keys=True)
    path = cache / f"{network.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy" if cache else None
    if path is not None and path.exists():
        stored: Array = np.load(path, allow_pickle=False)
        return stored
    features = network.compute(make())
    if path is not None:
        content = io.BytesIO()
        np.save(content, features, allow_pickle=False)
        write_whole(path, content.getvalue())
    return features


def lpips(a: Array, b: Array, alexnet: Path) -> Array:
    """LPIPS of pairs of slices (N, H, W), 0 to 1; shape (N,)."""
    return lpips_by(lpips_network(alexnet), a, b)


def lpips_network(alexnet: Path) -> Lpips:
    """The metric with its public weights; the generator that others draw from stays as it is."""
    import torch

    from volforge.networks.alexnet_lpips import Lpips
    from volforge.weights import load_state, lpips_heads

    with torch.random.fork_rng(devices=[]):
        network = Lpips().eval()
    network.load_public(load_state(alexnet), load_state(lpips_heads()))
    return network


def lpips_by(network: Lpips, a: Array, b: Array) -> Array:
    """The same by a network that was made before."""
    import torch

    from volforge.networks.alexnet_lpips import resized_to_least

    found = []
    with torch.inference_mode():
        for start in range(0, len(a), BATCH):
            x, y = (
                torch.from_numpy(np.ascontiguousarray(v[start : start + BATCH], np.float32))[:, None] for v in (a, b)
            )
            found.append(network(resized_to_least(x), resized_to_least(y)).numpy())
    return np.concatenate(found)
