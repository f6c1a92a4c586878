"""What tests share: small volumes on disk, the command line, real volumes where they are present."""

from __future__ import annotations

import os

# two workers of pytest share two cores: libraries that take all of them wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"
HU_BALL = (60, 60, 60)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


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


def volforge(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "volforge", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        check=False,
        stdin=subprocess.DEVNULL,
    )


def snakemake(
    *arguments: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout: int = 900
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the project's Snakefile in a folder of the test's own.

    A run that does not end is a failure that shows its last output and where each of its threads was.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        err = _said_at_last(process)
        pytest.fail(f"snakemake {' '.join(map(str, arguments))}: no end within {timeout} s; it said:\n{err[-8000:]}")
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


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
