"""How a function is named to another process, and found there. The name travels, never the code."""

import importlib
import importlib.util
import inspect
import runpy
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

_MAIN: Final = "__mp_main__"
"""What multiprocessing calls a parent's main module in its children: the usual `__name__` guard holds for both."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A function's place: importable module, qualified name, and the file for a module that no path leads to."""

    loading: ClassVar[bool] = False
    """This process is a child that still imports the module of its function."""

    module: str
    """Empty for a main program that is a file."""
    qualname: str
    file: str
    """Empty when the module has none."""
    is_main: bool

    @classmethod
    def of(cls, fn: Callable[..., Any], name: str) -> "Reference":
        """Raises ValueError, with the way out, for a function that another process cannot find by name."""
        qualname = getattr(fn, "__qualname__", "")
        bound_to = getattr(fn, "__self__", None)
        bound = inspect.ismethod(fn) and not isinstance(bound_to, type)
        if not inspect.isroutine(fn) or bound or "<" in qualname:  # <locals>, <lambda>
            raise ValueError(
                f"function {name!r}: a process of its own finds its function by name; "
                "move it to the top level of a module, as a plain def"
            )
        module = sys.modules.get(fn.__module__)
        file = getattr(module, "__file__", None) or ""
        if fn.__module__ not in ("__main__", _MAIN):
            return cls(fn.__module__, qualname, file, is_main=False)
        spec = getattr(module, "__spec__", None)
        if spec is None and not file:
            raise ValueError(f"function {name!r}: the main program has no file; move the function to a module that has")
        return cls(spec.name if spec is not None else "", qualname, file, is_main=True)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Reference":
        return cls(**plain)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def refuse_while_loading(cls) -> None:
        """A program that starts its work on import would start it again in each child, without end."""
        if cls.loading:
            raise RuntimeError("the program starts its work when imported; put it under: if __name__ == '__main__':")

    def resolve(self) -> Any:
        """The object with this name, after importing its module. Raises whatever the import raises, or AttributeError."""
        Reference.loading = True
        try:
            found: Any = self._main() if self.is_main else self._module()
        finally:
            Reference.loading = False
        for part in self.qualname.split("."):
            found = getattr(found, part)
        return found

    def _main(self) -> types.ModuleType:
        if self.module:
            content = runpy.run_module(self.module, run_name=_MAIN, alter_sys=True)
        else:
            content = runpy.run_path(self.file, run_name=_MAIN)
        module = types.ModuleType(_MAIN)
        module.__dict__.update(content)
        sys.modules["__main__"] = sys.modules[_MAIN] = module
        return module

    def _module(self) -> types.ModuleType:
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if not self.file or not (self.module == missing or self.module.startswith(f"{missing}.")):
                raise
        spec = importlib.util.spec_from_file_location(self.module, self.file)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"no module can be made of {self.file}", name=self.module)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module] = module
        spec.loader.exec_module(module)
        return module
