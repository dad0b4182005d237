"""Import strings: `package.module:attr` and `path/file.py:attr`. Knows the import system, nothing of catalogs."""

import hashlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_DOTTED: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class BadReference(ValueError):  # named for what it says, as the public errors are
    """The import string cannot be followed; the message says why and what to do."""


def is_reference(text: str) -> bool:
    """Whether the text has the form of an import string."""
    where, colon, attribute = text.rpartition(":")
    is_place = where.endswith(".py") or _DOTTED.fullmatch(where) is not None
    return bool(colon) and is_place and _DOTTED.fullmatch(attribute) is not None


def load_reference(text: str, folder: Path | None = None) -> Any:
    """The object that the import string names. A file is looked for from `folder`, by default the working directory.

    A module is imported once, however often it is named. Raises BadReference.
    """
    if not is_reference(text):
        raise BadReference(f"{text!r} is not an import string; write module:attribute or file.py:attribute")
    where, _, attribute = text.rpartition(":")
    module = _load_file(where, folder or Path()) if where.endswith(".py") else _load_module(where)
    found: Any = module
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise BadReference(f"{where} has no attribute {attribute!r}{_near(name, found)}") from None
    return found


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise BadReference(_import_failed(name, error)) from error
        raise BadReference(f"there is no module {name!r}; for a file write path/file.py:attribute") from None
    except (Exception, SystemExit) as error:
        raise BadReference(_import_failed(name, error)) from error


def _load_file(where: str, folder: Path) -> ModuleType:
    path = folder / where
    try:
        path = path.resolve()
        is_file = path.is_file()
    except (OSError, ValueError, RuntimeError):
        is_file = False
    if not is_file:
        raise BadReference(f"there is no file {where!r} in {folder.absolute()}")
    # The folder joins the import path for good, last: the file's neighbours can be imported whenever it asks for them,
    # and a child process that gets this path finds the module by its plain name.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    importlib.invalidate_caches()
    try:
        if _is_importable_as(path.stem, path):
            return importlib.import_module(path.stem)
        return _load_under_own_name(path)
    except (Exception, SystemExit) as error:
        raise BadReference(_import_failed(where, error)) from error


def _is_importable_as(name: str, path: Path) -> bool:
    if not name.isidentifier() or name.startswith("__"):
        return False
    try:
        loaded = sys.modules.get(name)
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
        return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path
    except (ImportError, ValueError, AttributeError, OSError):
        return False


def _load_under_own_name(path: Path) -> ModuleType:
    """Load a file whose plain name belongs to another module."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = re.sub(r"\W", "_", path.stem) + "_" + digest
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path.name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_failed(where: str, error: BaseException) -> str:
    return f"importing {where} failed: {type(error).__name__}: {error}"


def _near(name: str, owner: object) -> str:
    import difflib  # noqa: PLC0415 - needed only for a mistake

    names = [known for known in dir(owner) if not known.startswith("_")]
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
