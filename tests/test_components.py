"""Networks and losses by name: found without torch, keywords checked before anything is built."""

import subprocess
import sys

import pytest

from volforge import components
from volforge.errors import VolforgeError

OWN = """
import torch
class Tiny(torch.nn.Module):
    def __init__(self, channels, classes, width, *, depth=2):
        super().__init__()
        self.net = torch.nn.Conv3d(channels, classes, 1)
    def forward(self, x):
        return self.net(x)
class Far:
    needs_distance = True
"""


def test_checking_does_not_import_torch():
    code = (
        "import sys; from volforge import components as c; "
        "assert c.check('network', {'name': 'vnet', 'width': 4}) == []; "
        "assert c.needs_distance({'name': 'dice_boundary'}); assert not c.needs_distance({'name': 'ce'}); "
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("spec", "message", "remedy"),
    [
        ({"name": "vnett"}, "no network 'vnett'", "did you mean 'vnet'?"),
        ({"name": "vnet", "widht": 4}, "no keyword 'widht'", "did you mean 'width'?"),
        ({"name": "vnet", "classes": 4}, "no keyword 'classes'", "keywords: width, levels, norm"),
        ({"name": "absent.py:Net"}, "file not found: absent.py", "working directory"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(spec, message, remedy):
    ((said, what),) = components.check("network", spec)
    assert message in said
    assert remedy in what


def test_own_file(tmp_path):
    file = tmp_path / "tiny.py"
    file.write_text(OWN)
    name = f"{file}:Tiny"
    assert components.check("network", {"name": name}) == [
        (f"network '{name}' needs the keyword 'width'", "add `width:`")
    ]
    assert components.check("network", {"name": name, "width": 3, "depth": 1}) == []
    assert components.check("network", {"name": f"{file}:Other"})[0][0].startswith("no class 'Other'")
    network = components.build("network", {"name": name, "width": 3}, channels=1, classes=2, spacing_mm=None)
    assert network.net.out_channels == 2
    assert components.needs_distance({"name": f"{file}:Far"})
    before = components.file_hash("network", {"name": name})
    file.write_text(OWN + "\n# changed\n")
    assert components.file_hash("network", {"name": name}) != before
    assert components.file_hash("network", {"name": "vnet"}) == ""


def test_what_a_constructor_refuses_is_no_traceback():
    with pytest.raises(VolforgeError, match="2 to 5 levels"):
        components.build("network", {"name": "vnet", "levels": 9}, channels=1, classes=2)
    with pytest.raises(VolforgeError, match="no keyword"):
        components.build("loss", {"name": "ce", "wieghts": [1, 2]})


@pytest.mark.parametrize("kind", ["network", "loss"])
def test_every_name_can_be_built(kind):
    import torch

    with torch.device("meta"):  # some have 80 million weights
        for name in components.NAMES[kind]:
            assert components.build(kind, {"name": name}, channels=1, classes=2, spacing_mm=None, size=64) is not None
