"""The mask loss: a synthetic body ends where its label map ends.

The published loss compares two thresholded masks; it has no gradient and trains nothing. Here the image's mask is soft,
so that it pulls the outline; the published one is kept as a number to log.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

BAND = 8  # pixels on both sides of the outline
TEMPERATURE = 0.05
KERNEL, SIGMA = 5, 1.1
PUBLISHED_LEVEL = 55
PUBLISHED_HOLE = 40**3


def blur(image: Tensor) -> Tensor:
    """Gaussian of 5 x 5 pixels, edges repeated."""
    line = torch.exp(
        -((torch.arange(KERNEL, device=image.device, dtype=image.dtype) - KERNEL // 2) ** 2) / (2 * SIGMA**2)
    )
    line = line / line.sum()
    kernel = (line[:, None] * line[None, :]).expand(image.shape[1], 1, KERNEL, KERNEL)
    padded = functional.pad(image, [KERNEL // 2] * 4, mode="replicate")
    return functional.conv2d(padded, kernel, groups=image.shape[1])


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask with all pixels within so many steps along rows and columns."""
    return functional.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels)


class OutlineLoss(nn.Module):
    """Brightness outside the body, and soft Dice of body and image in a band about the outline.

    mean((1 - M grown) relu(g + 1)) + 1 - Dice(P A, M A), where M is the body of the label map, P the soft body of the
    image, sigmoid((blur(g) - level) / 0.05), and A a band of 8 pixels on both sides of the outline without `open`
    classes (lung, air), inside which an image may be dark.

    Args:
        level: Image value at the body's edge, from -1 to 1 (-500 HU in the recipe's window; 5 % of it for MR).
        band: Pixels on both sides of the outline.
    """

    def __init__(self, level: float, band: int = BAND):
        super().__init__()
        self.level, self.band = level, band

    def forward(self, image: Tensor, body: Tensor, dark: Tensor | None = None) -> Tensor:
        """Loss of images.

        Args:
            image: (N, 1, H, W) from -1 to 1.
            body: (N, 1, H, W) 0 or 1: the label map above 0, holes filled.
            dark: (N, 1, H, W) 0 or 1: classes that may be as dark as air, or None.
        """
        image, body = image.float(), body.float()
        outer = grown(body, self.band)
        inner = 1 - grown(1 - body, self.band)
        band = outer - inner
        if dark is not None:
            band = band * (1 - grown(dark.float(), KERNEL // 2))
        soft = torch.sigmoid((blur(image) - self.level) / TEMPERATURE)
        overlap = (soft * body * band).sum(dim=(1, 2, 3))
        total = ((soft + body) * band).sum(dim=(1, 2, 3))
        dice = torch.where(total > 0, 2 * overlap / total.clamp(min=1e-6), 1.0)
        outside = ((1 - outer) * functional.relu(image + 1)).mean()
        return outside + (1 - dice).mean()


@torch.no_grad()
def published_mask_loss(image: Tensor, labels: Tensor) -> float:
    """The published mask loss, a number without a gradient: half the share of pixels in which two masks differ.

    Both masks are 8-bit pictures scaled by the largest value of the batch, blurred, thresholded, opened and rid of
    holes under 64,000 pixels - in four dimensions, so that the images of a batch spoil each other.

    Args:
        image: (N, 1, H, W) from -1 to 1.
        labels: (N, H, W) ids.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, generate_binary_structure
    from skimage.morphology import remove_small_holes

    top = max(1, int(labels.max()))
    wanted = (255 * labels.float() / top).to(torch.uint8)[:, None].float()
    found = (255 * (image.float() + 1) / (float(image.max()) + 1 + 1e-12)).clamp(0, 255).to(torch.uint8).float()
    cross = generate_binary_structure(4, 1)
    masks = []
    for picture, level in ((wanted, 0), (found, PUBLISHED_LEVEL)):
        mask = (blur(picture) > level).cpu().numpy()
        if mask.shape[1] == 1:
            mask = np.repeat(mask, 3, axis=1)  # grey pictures were three equal channels
        mask = binary_dilation(binary_erosion(mask, cross, border_value=1), cross)
        masks.append(remove_small_holes(mask, max_size=PUBLISHED_HOLE - 1))
    return 0.5 * float(np.mean(masks[0] != masks[1]))
