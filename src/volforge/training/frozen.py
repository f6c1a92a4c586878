"""Networks that answer without being taught."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def frozen(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Networks whose weights take no gradient for a while; what they pass on to their input stays."""
    held = list(networks)
    for network in held:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in held:
            network.requires_grad_(True)
