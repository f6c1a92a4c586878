"""Whether results are what their run has left: every file hashed again, and held against the crate."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from volforge.report.crate import CRATE, READERS, files_of_run, hash_of_crate, leads_out, read_crate, request_of
from volforge.volume.folders import sha256_of


@dataclass
class Verdict:
    """What became of a run's files.

    Attributes:
        whole: How many are as they were.
        changed: Names of files with other content, with what differs.
        missing: Names of files that are gone.
        links: Names of files that now lead out of the folder of results; they are not opened.
        added: Names of files that the run has not left; no fault, but nobody vouches for them.
        crate: SHA-256 of the crate.
    """

    whole: int = 0
    changed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    crate: str = ""

    @property
    def is_good(self) -> bool:
        """Whether every file of the run is there, unchanged."""
        return not (self.changed or self.missing or self.links)


def verify(results: Path) -> Verdict:
    """Hash the files of a run again.

    Args:
        results: Folder of results, with its crate.

    Raises:
        VolforgeError: There is no crate, or it is damaged.
    """
    listed = read_crate(results)
    verdict = Verdict(crate=hash_of_crate(results))
    checked: dict[str, str] = {}
    for name, (size, digest) in sorted(listed.items()):
        path = results / name
        if not path.is_file():
            verdict.missing.append(name)
        elif ".." in Path(name).parts or Path(name).is_absolute() or leads_out(path, results):
            verdict.links.append(name)
        elif path.stat().st_size != size:
            verdict.changed[name] = f"{path.stat().st_size:,} bytes, {size:,} were written"
        else:
            checked[name] = digest
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: sha256_of(results / name), checked)
    for (name, digest), again in zip(checked.items(), found, strict=True):
        if again == digest:
            verdict.whole += 1
        else:
            verdict.changed[name] = f"SHA-256 {again[:12]}..., {digest[:12]}... was written"
    if "report.json" in checked and "report.json" not in verdict.changed:
        verdict.added = [n for n in files_of_run(results, request_of(results)) if n not in listed and n != CRATE]
    return verdict
