"""Functions and classes by their dotted places, `module:name`, or in files of the user, `file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from volforge.errors import VolforgeError

STAMP = "volforge_stamp"  # what file a module was made of


def at(place: str) -> Any:
    """What stands at a place.

    Raises:
        VolforgeError: It is no place; there is no such file, or it does not hold the name.
    """
    module, _, name = place.rpartition(":")
    if not module:
        raise VolforgeError(f"'{place}' is no place of a function", "", "write module:name or file.py:name")
    if not module.endswith(".py"):
        return getattr(importlib.import_module(module), name)
    if not Path(module).is_file():
        raise VolforgeError(f"file not found: {module}", "", "paths of own files start from the working directory")
    found = getattr(own_module(Path(module)), name, None)
    if found is None:
        raise VolforgeError(f"there is no '{name}'", module, "write file.py:name")
    return found


def own_module(file: Path) -> ModuleType:
    """The module of a file of the user; its folder is searched for neighbours, as Python does for a program.

    Raises:
        VolforgeError: It cannot be imported.
    """
    file = file.resolve()
    name = f"volforge_own_{file.stem}"
    stamp = (str(file), file.stat().st_mtime_ns, file.stat().st_size)
    known = sys.modules.get(name)
    if known is not None and getattr(known, STAMP, None) == stamp:
        return known
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, STAMP, stamp)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise VolforgeError(
            f"cannot be imported: {type(error).__name__}: {error}", str(file), "mend the file"
        ) from error
    return module
