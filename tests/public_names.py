"""The public names of all modules: functions, classes and their methods."""

import importlib
import inspect
import pkgutil
import types

import tfstyle

MODULES = [m.name for m in pkgutil.walk_packages(tfstyle.__path__, "tfstyle.") if not m.name.endswith("__main__")]


def members(module):
    """(name, function or class, class it belongs to) of what a module defines without an underscore."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        place = f"{module.__name__}.{name}".removeprefix("tfstyle.")
        if isinstance(value, types.FunctionType):
            yield place, value, None
        elif inspect.isclass(value):
            yield place, value, None
            for inner, attribute in vars(value).items():
                function = getattr(attribute, "__func__", getattr(attribute, "fget", attribute))
                if isinstance(function, types.FunctionType) and not inner.startswith("_"):
                    yield f"{place}.{inner}", function, value


PUBLIC = {place: (value, owner) for name in MODULES for place, value, owner in members(importlib.import_module(name))}
