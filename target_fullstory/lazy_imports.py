"""Imports what singer-sdk seldom needs only when it is called: a quarter of the time a load takes to start.

singer-sdk imports `joblib` for draining sinks in parallel, which this target does not do, and `upath` (with
it fsspec and asyncio) for the files of BATCH messages. While singer-sdk is imported, it gets functions
of these names instead, which import the real ones when they are called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

_SELDOM_CALLED = {"joblib": ("Parallel", "delayed", "parallel_config"), "upath": ("UPath",)}


@contextmanager
def deferred_imports() -> Iterator[None]:
    """Let modules imported inside take these names from modules that are not imported yet."""
    added = {name: _stand_in(name) for name in _SELDOM_CALLED if name not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name, module in added.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _stand_in(name: str) -> ModuleType:
    def real(attribute: str) -> Any:
        """Any other attribute: of the real module, imported at once."""
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        sys.modules.pop(name, None)
        return getattr(import_module(name), attribute)

    module = ModuleType(name)
    for attribute in _SELDOM_CALLED[name]:
        setattr(module, attribute, partial(_call, name, attribute))
    module.__getattr__ = real  # type: ignore[method-assign]
    return module


def _call(module: str, name: str, *args: Any, **options: Any) -> Any:
    return getattr(import_module(module), name)(*args, **options)
