"""Keras loads tfstyle's files after `import tfstyle` alone, in either order of imports."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import image, small_transformer

from tfstyle import registration

LOAD = """
import numpy as np
np.save("found.npy", keras.models.load_model("network.keras")(np.load("given.npy")))
"""


@pytest.mark.parametrize("imports", ["import tfstyle, keras", "import keras, tfstyle"])
def test_a_network_is_loaded_after_either_order_of_imports(imports, rng, tmp_path):
    """One network; every kind of file is in the list of test_conformance."""
    network, given = small_transformer(), image(rng)
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "given.npy", given)
    subprocess.run([sys.executable, "-c", imports + LOAD], check=True, capture_output=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), network(given), rtol=1e-5, atol=1e-5)


def test_importing_tfstyle_loads_no_keras_and_leaves_its_import_as_it_was():
    code = (
        "import sys, tfstyle\n"
        "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('keras').name == 'keras'\n"
        "import keras\n"
        "assert not any(type(finder).__module__.startswith('tfstyle') for finder in sys.meta_path)\n"
        "assert 'tfstyle>VGG' in keras.saving.get_custom_objects()\n"
        "assert keras.__spec__.loader.get_resource_reader('keras') is not None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("half", ["", "keras.saving = None; keras.__spec__._initializing = True; "])
def test_a_keras_that_is_half_imported_is_no_obstacle(half):
    code = (
        "import importlib.machinery, sys, types\n"
        "keras = types.ModuleType('keras'); keras.__spec__ = importlib.machinery.ModuleSpec('keras', None)\n"
        f"{half}sys.modules['keras'] = keras\n"
        "import tfstyle\n"
        "del sys.modules['keras']\n"  # As Python does where an import fails.
        "import keras\n"
        "assert 'tfstyle>VGG' in keras.saving.get_custom_objects()\n"
        "hook = tfstyle.registration._AfterKeras()\n"
        "spec = hook.find_spec('keras')\n"
        "spec.loader.exec_module(keras)\n"  # The hook is not in the list.
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_registered_class_is_in_the_list():
    import keras

    from tfstyle.feedforward import generator  # noqa: F401, registers its classes and those below.

    ours = {name.removeprefix("tfstyle>") for name in keras.saving.get_custom_objects() if name.startswith("tfstyle>")}
    assert ours == set(registration.CLASSES)
    for name, path in registration.CLASSES.items():
        module, _, class_name = f"tfstyle.{path}".rpartition(".")
        kind = getattr(importlib.import_module(module), class_name)
        assert kind.__module__ == module
        assert keras.saving.get_registered_name(kind) == f"tfstyle>{name}"
