"""What a training tells while it runs: lines with the time left, and TensorBoard beside the checkpoints."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from volforge.training.state import State
from volforge.training.task import Plan

PROGRESS_SECONDS = 10.0


class Progress:
    """Lines with the time left, and TensorBoard beside the checkpoints."""

    def __init__(self, plan: Plan, first: int, is_first_rank: bool, folder: Path):
        self.plan, self.first, self.is_first_rank = plan, first, is_first_rank
        self.start = self.told = time.monotonic()
        self.writer: Any = None
        self.folder = folder

    def step(self, state: State) -> None:
        """After every step: a line from time to time."""
        now = time.monotonic()
        if not self.is_first_rank or now - self.told < PROGRESS_SECONDS or not state.counted:
            return
        self.told = now
        speed = (state.step - self.first) / (now - self.start)
        left = int((self.plan.steps - state.step) / speed)
        means = ", ".join(f"{k} {v:.4f}" for k, v in state.means().items())
        print(
            f"step {state.step} of {self.plan.steps}, {means}, {speed:.2f} steps/s, "
            f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left",
            file=sys.stderr,
            flush=True,
        )

    def validated(self, state: State) -> None:
        """After every validation: a line and the curves."""
        if not self.is_first_rank:
            return
        from tensorboardX import SummaryWriter

        row = state.history[-1]
        if self.writer is None:
            self.writer = SummaryWriter(str(self.folder), write_to_disk=True)
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, state.step)
        self.writer.flush()
        shown = ", ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "step")
        print(f"step {state.step}: {shown}", file=sys.stderr, flush=True)
