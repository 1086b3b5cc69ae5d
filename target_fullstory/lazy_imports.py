"""Imports what singer-sdk seldom needs only when it is called: a sixth of the time a load takes to start.

singer-sdk imports `joblib` for draining sinks in parallel, which this target does not do, and `upath` (with
it fsspec and asyncio) for the files of BATCH messages. While singer-sdk is imported, the names that it
takes from them stand for functions that import the real ones when they are called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_SELDOM_CALLED = {"joblib": ("Parallel", "delayed", "parallel_config"), "upath": ("UPath",)}


@contextmanager
def deferred_imports() -> Iterator[None]:
    """Let modules imported inside take names from others that are not imported yet.

    A name that is not known here is taken from the real module, imported at once.
    """
    added = [_Deferred(name) for name in _SELDOM_CALLED if name not in sys.modules]
    sys.modules.update({module.__name__: module for module in added})
    try:
        yield
    finally:
        for module in added:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]


class _Deferred(ModuleType):
    """Stands for a module that is not imported yet."""

    def __getattr__(self, name: str) -> Any:
        if name in _SELDOM_CALLED[self.__name__]:
            return _deferred_call(self.__name__, name)
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self), name)


def _real(stand_in: _Deferred) -> ModuleType:
    name = stand_in.__name__
    del sys.modules[name]
    return importlib.import_module(name)


def _deferred_call(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **options)

    call.__name__ = call.__qualname__ = name
    return call
