"""16-bit mixed precision for several optimisers: one scale of the loss throughout a step."""

from __future__ import annotations

from typing import Any

from lightning_fabric.plugins.precision.amp import MixedPrecision


class OneScale(MixedPrecision):
    """Mixed precision whose scale changes between steps of the training only.

    Fabric's own lets it change after every optimiser. Networks that share a way back (a generator and the segmenter
    that reads it) would then have gradients of the old scale divided by the new one: doubled or halved.

    Source: torch.amp, "Working with Multiple Models, Losses, and Optimizers": `update` once, after all optimisers.

    Args:
        device: `cpu` or `cuda`.
    """

    def __init__(self, device: str):
        super().__init__("16-mixed", device)

    def optimizer_step(self, optimizer: Any, **kwargs: Any) -> Any:
        """Move weights, or leave them where a gradient is not finite; the scale stays."""
        assert self.scaler is not None
        return self.scaler.step(optimizer, **kwargs)

    def step_done(self) -> None:
        """After all optimisers of a step: take up what they found."""
        assert self.scaler is not None
        self.scaler.update()
