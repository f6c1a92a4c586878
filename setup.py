"""What pyproject.toml cannot say: a wheel holds the workflow and the pages of docs/ too, which stand at the top."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
WORKFLOW = ("Snakefile", "rules", "envs", "config", "profiles")
PAGES = "docs/*.md"  # what messages and new configurations name; pictures and results stay in the repository
HOME = Path("volforge", "shipped")  # found by volforge.workflow.shipped


class BuildWithWorkflow(build_py):
    """Copies the workflow into the package of a wheel; an editable install finds it in the clone."""

    def run(self) -> None:
        """Build, and copy."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Files of the package, the copies too."""
        copies = [] if self.editable_mode else [str(target) for _, target in self._copies()]
        return [*super().get_outputs(include_bytecode), *copies]

    def _copies(self) -> list[tuple[Path, Path]]:
        found = [file for name in WORKFLOW for file in _files_of(ROOT / name)] + sorted(ROOT.glob(PAGES))
        return [(file, Path(self.build_lib) / HOME / file.relative_to(ROOT)) for file in found]


def _files_of(path: Path) -> list[Path]:
    if not path.exists():
        raise SystemExit(f"{path}: is part of the package, and is not here")
    if path.is_file():
        return [path]
    return sorted(f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)


setup(cmdclass={"build_py": BuildWithWorkflow})
