"""Lets Keras load tfstyle's `.keras` files after `import tfstyle` alone, which loads neither Keras nor TensorFlow."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

CLASSES = {
    "VGG": "vgg.VGG",
    "StyleContentModel": "model.StyleContentModel",
    "AdaINDecoder": "feedforward.adain.AdaINDecoder",
    "ArbitraryStyle": "feedforward.adain.ArbitraryStyle",
    "InstanceNormalisation": "feedforward.layers.InstanceNormalization",
    "Transformer": "feedforward.transformer_net.TransformerNet",
    "Generator": "feedforward.generator.Generator",
}
"""Name in saved files → module and class of tfstyle; the module registers the class itself when it is imported."""


class _Deferred:
    """A placeholder in Keras' registry for a class whose module is imported when an object is made from a file."""

    def __init__(self, path: str) -> None:
        self._module, _, self._name = f"tfstyle.{path}".rpartition(".")

    def from_config(self, config: dict[str, Any]) -> Any:
        """Makes an object of the class."""
        return getattr(importlib.import_module(self._module), self._name).from_config(config)


def _register(keras: ModuleType) -> None:
    """Puts the classes whose modules are not imported yet into Keras' registry."""
    registry = keras.saving.get_custom_objects()
    for name, path in CLASSES.items():
        registry.setdefault(f"tfstyle>{name}", _Deferred(path))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Registers the classes once Keras has been imported."""

    _searching = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds Keras as Python does, and extends its loader to register the classes."""
        if name != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register(module)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def register_with_keras() -> None:
    """Registers tfstyle's classes with Keras: now if Keras has been imported, else as soon as it is."""
    keras = sys.modules.get("keras")
    half = getattr(getattr(keras, "__spec__", None), "_initializing", False)  # Another thread is importing it.
    if keras is not None and hasattr(keras, "saving") and not half:
        _register(keras)
    else:
        sys.meta_path.insert(0, _AfterKeras())
