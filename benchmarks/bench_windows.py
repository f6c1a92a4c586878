"""Sliding windows over a region against MONAI's inferer, with the same network."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.rows import Peer, Row, Scale, close


def rows(scale: Scale) -> Iterator[Row]:
    import torch

    from volforge import components
    from volforge.inference.windows import OUTSIDE, probabilities

    torch.set_num_threads(1)
    torch.manual_seed(0)
    patch, size = scale.of(((48, 48, 32), (96, 96, 48)), ((16, 16, 16), (24, 24, 16)))
    spec = {"name": "residual_unet", "width": scale.of(8, 4), "levels": 3}
    network = components.build("network", spec, channels=1, outputs=3, classes=3, spacing_mm=None).eval()
    image = torch.rand(1, 1, *size) * 2 - 1

    def by_monai(region: torch.Tensor) -> torch.Tensor:
        from monai.inferers import SlidingWindowInferer

        inferer = SlidingWindowInferer(patch, sw_batch_size=1, overlap=0.5, mode="gaussian", cval=OUTSIDE)
        with torch.inference_mode():
            found = inferer(region, lambda x: network(x).float().softmax(dim=1))
        assert isinstance(found, torch.Tensor)
        return found

    def ours(region: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return probabilities(network, region, patch)

    shown, near = "x".join(map(str, size)), close(1e-4, 1e-5)
    yield Row(
        f"region of {shown} by windows of {'x'.join(map(str, patch))}, half overlapping",
        lambda: ours(image),
        (Peer("MONAI, SlidingWindowInferer", lambda: by_monai(image), near, ("monai",)),),
        turns=7,
    )
    small = image[:, :, : patch[0] - 2, : patch[1] - 1, : patch[2] - 3]
    yield Row(
        "a region that one window covers",
        lambda: ours(small),
        (Peer("MONAI, SlidingWindowInferer", lambda: by_monai(small), near, ("monai",)),),
    )
