"""What tests share: small volumes on disk, the command line, real volumes where they are present."""

from __future__ import annotations

import os

# workers of pytest share two cores: libraries that take all of them wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import compileall
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import nibabel as nib
import numpy as np
import pytest

from tests import forked_call
from tests.forked import Prepared

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"
HU_BALL = (60, 60, 60)


def pytest_configure(config: pytest.Config) -> None:
    """Where Python may not keep what it compiles, each of a thousand processes would compile the same modules."""
    config.addinivalue_line("markers", "xdist_group(name): known also where xdist is switched off")
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "src", quiet=1)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that share what their module, or their folder, makes once go to one worker: else each of them makes it.

    Workers are given groups in the order of tests: long ones first, so that none is left alone with one at the end.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is not None or not isinstance(item, pytest.Function):
            continue
        made = [f for found in item._fixtureinfo.name2fixturedefs.values() for f in found]
        shared = {f.baseid for f in made if f.scope == "session" and f.baseid.startswith("tests/")}
        shared |= {f.baseid for f in made if f.scope == "module"} if not shared else set()
        if shared:
            item.add_marker(pytest.mark.xdist_group(min(shared)))
    if hasattr(config, "workerinput"):
        items[:] = long_ones_first(items)


def long_ones_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Groups before tests that are none, and among each those with slow tests first."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        groups.setdefault(item.nodeid if mark is None else mark.args[0], []).append(item)

    def rank(group: list[pytest.Item]) -> tuple[bool, int]:
        return group[0].get_closest_marker("xdist_group") is None, -sum("slow" in i.keywords for i in group)

    return [item for group in sorted(groups.values(), key=rank) for item in group]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, unpacked; tests that ask for it belong to the group `wheel`, so that it is built once."""
    from tests.wheel import unpacked_wheel

    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real volumes; tests that ask for it skip where it is not beside the project."""
    if not (REAL / "SOURCES.md").exists():
        pytest.skip(f"real volumes are not beside the project ({REAL.parent.name}/{REAL.name})")
    return REAL


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None, unit: str = "mm") -> Path:
    """Write a NIfTI file as a scanner's converter would."""
    image = nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def ball_ct(shape: tuple[int, int, int] = (40, 40, 30), radius: float = 12) -> np.ndarray:
    """A ball of water in air, int16 HU."""
    grid = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return np.where((grid**2).sum(axis=0) <= radius**2, 40, -1000).astype(np.int16)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    return save(tmp_path / "ct.nii.gz", ball_ct())


NOUNS = ("scan", "cohort", "study", "measure", "model", "validate", "status")
COMMANDS = Prepared(
    *(f"volforge.cli.{noun}" for noun in NOUNS), "volforge.volume.import_scan", "volforge.workflow.run", "SimpleITK",
    "pandas", "scipy.stats", "scipy.ndimage", "matplotlib.figure",
)  # fmt: skip
NETWORKS = Prepared("volforge.cli.model", "torch._dynamo", "lightning_fabric", "monai")
WORKFLOW = Prepared("snakemake.cli", "volforge.workflow.run", "volforge.workflow.jobs", "volforge.workflow.code_hash")


def volforge(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, forked (tests/forked.py)."""
    words = list(map(str, arguments))
    variables = {**os.environ, "COLUMNS": "200", **(env or {})}
    prepared = NETWORKS if words[:1] == ["model"] else COMMANDS
    is_replaced = words[:1] == ["run"]  # by Snakemake: what was forked cannot say how that ended
    done = None if is_replaced else prepared.run("volforge", words, cwd or Path.cwd(), variables)
    if done is not None:
        return done
    return subprocess.run(
        [sys.executable, "-m", "volforge", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def snakemake(
    *arguments: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout: int = 900
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the project's Snakefile in a folder of the test's own.

    It and its jobs are forked (tests/forked.py). A run that does not end is a failure that shows its last output and
    where each of its threads was.
    """
    words = ["--snakefile", str(ROOT / "Snakefile"), *map(str, arguments)]
    variables = {**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})}
    if "-n" not in words:
        call = shlex.join([sys.executable, "-IS", forked_call.__file__])
        variables["BASH_FUNC_volforge%%"] = (
            f'() {{ {call} "$@"; }}'  # bash looks for functions before it looks for files
        )
        variables |= {"VOLFORGE_TEST_COMMANDS": COMMANDS.place, "VOLFORGE_TEST_NETWORKS": NETWORKS.place}
    try:
        if (done := WORKFLOW.run("snakemake", words, cwd, variables, timeout)) is not None:
            return done
    except subprocess.TimeoutExpired as late:
        _fail(arguments, timeout, str(late.stderr))
    command = [sys.executable, "-m", "snakemake", *words]
    process = subprocess.Popen(
        command, cwd=cwd, env=variables, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        _fail(arguments, timeout, _said_at_last(process))
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _fail(arguments: Sequence[str | Path], timeout: int, said: str) -> NoReturn:
    pytest.fail(f"snakemake {' '.join(map(str, arguments))}: no end within {timeout} s; it said:\n{said[-8000:]}")


HEARING = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def hearing_ctrl_c(*arguments: str) -> list[str]:
    """The call of a Python that hears Ctrl-C. Shells have what they start in the background ignore it, which tests that
    run there, and all that they start, inherit."""
    return [sys.executable, "-c", HEARING, *arguments]


def _said_at_last(process: subprocess.Popen[str]) -> str:
    """Standard error of a process that was told to end, even if one of its children holds it open."""
    for _ in range(2):
        try:
            return process.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired as error:
            said = error.stderr or b""
            os.killpg(process.pid, signal.SIGKILL)
    return said.decode(errors="replace") if isinstance(said, bytes) else said


@pytest.fixture
def write_sheet(tmp_path: Path) -> Callable[..., Path]:
    """Write a sample sheet from rows."""

    def write(rows: Sequence[dict[str, str]], name: str = "sheet.tsv", folder: Path | None = None) -> Path:
        columns = list(dict.fromkeys(c for r in rows for c in r))
        lines = ["\t".join(columns)] + ["\t".join(str(r.get(c, "")) for c in columns) for r in rows]
        path = (folder or tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
