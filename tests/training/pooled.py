"""A task that keeps a pool of earlier fakes, as translation does, and trainings of it in one process or in two.

Usage: python -m tests.training.pooled FOLDER kill STEP     one process, which kills itself after that step
       python -m tests.training.pooled FOLDER two           two: undisturbed, and stopped and gone on with
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from volforge.training.loop import train
from volforge.training.stop import Stop
from volforge.training.task import Plan, Task

STEPS, BATCH, MOST = 24, 3, 8


class Pooled(Task):
    """A generator and a judge that sees fakes of now or, by chance, earlier ones in their place.

    Source of the pool: Shrivastava et al., CVPR 2017; CycleGAN (Zhu et al., ICCV 2017) keeps 50.
    """

    def __init__(self, keeps: bool = True):
        self.settings = {"task": "pooled"}
        self.keeps = keeps
        self.pool: list[torch.Tensor] = []
        self.returned = 0  # earlier fakes that were shown
        self.last_words = -1

    def networks(self):
        return {"generator": nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 4)), "judge": nn.Linear(4, 1)}

    def optimizers(self, networks):
        return {n: (torch.optim.Adam(m.parameters(), lr=0.05), [n]) for n, m in networks.items()}

    def sample(self, index):
        generator = torch.Generator().manual_seed(index)
        return {"noise": torch.randn(4, generator=generator), "real": torch.rand(4, generator=generator)}

    def step(self, networks, batch, step, hands):
        fake = networks["generator"](batch["noise"])
        loss = -networks["judge"](fake).mean()
        hands.backward(loss)
        hands.update("generator")
        for parameter in networks["judge"].parameters():
            parameter.grad = None
        shown = self.shown(fake.detach(), torch.Generator().manual_seed(1000 * step + hands.rank))
        judged = networks["judge"](shown).mean() - networks["judge"](batch["real"]).mean()
        hands.backward(judged.square())
        hands.update("judge")
        if step == self.last_words:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"loss": loss, "judged": judged}

    def shown(self, fakes, generator):
        """Each fake itself, or with probability 0.5 an earlier one whose place it takes."""
        found = []
        for fake in fakes.clone():
            found.append(fake)
            if len(self.pool) < MOST:
                self.pool.append(fake)
            elif torch.rand((), generator=generator) < 0.5:
                k = int(torch.randint(MOST, (), generator=generator))
                self.pool[k], found[-1] = fake, self.pool[k]
                self.returned += 1
        return torch.stack(found)

    def validate(self, networks, device):
        return {}

    def extra_state(self):
        pool = [fake.clone() for fake in self.pool]
        return {"pool": pool, "returned": self.returned} if self.keeps else {}

    def load_extra(self, state):
        if self.keeps:
            self.pool, self.returned = list(state["pool"]), state["returned"]

    def held(self):
        """The pool, byte for byte, and how often it was drawn from."""
        return [fake.numpy().tobytes().hex() for fake in self.pool], self.returned


class StopAt(Stop):
    """Asks to end at the n-th step of this process."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def asked(self):
        self.left -= 1
        self.reason = "the test"
        return self.left == 0


def plan(**more):
    return Plan(STEPS, BATCH, validate_every=STEPS, checkpoint_seconds=0, **more)


def digest(done):
    """Hash of a training's weights."""
    content = b"".join(v.numpy().tobytes() for n in sorted(done.weights) for v in done.weights[n].values())
    return hashlib.sha256(content).hexdigest()


def main(folder: Path, what: str, step: str = "") -> None:
    if what == "kill":
        task = Pooled()
        task.last_words = int(step)
        train(task, plan(), 0, folder, Stop())
        raise AssertionError(f"no step {step}")
    found = {}
    for name, stops in {"undisturbed": [Stop()], "parted": [StopAt(9), StopAt(7), Stop()]}.items():
        for stop in stops:
            task = Pooled()
            done = train(task, plan(devices=2), 0, folder / name, stop)
            assert bool(done.stopped) == isinstance(stop, StopAt)
        found[name] = [*task.held(), digest(done), done.steps]
    (folder / f"rank{0 if done.is_first_rank else 1}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
