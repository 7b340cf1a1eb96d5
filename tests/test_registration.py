"""Keras loads tfstyle's files after `import tfstyle` alone, in either order of imports."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import embedded_decoder, image, miniature, small_generator, small_transformer

from tfstyle import registration

MAKERS = {
    "extractor": miniature,
    "network": lambda: miniature().vgg,
    "transformer": small_transformer,
    "generator": small_generator,
    "decoder": embedded_decoder,
}

LOAD = """
import numpy as np
network = keras.models.load_model({path!r})
given = np.load({given!r})
found = network(given)
np.savez({found!r}, *keras.tree.flatten(found))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Kind → file of a saved network, file of its input, and what it answers."""
    folder, numbers, made = tmp_path_factory.mktemp("networks"), np.random.default_rng(5), {}
    for kind, make in MAKERS.items():
        network, path, given = make(), folder / f"{kind}.keras", folder / f"{kind}.npy"
        network.save(path)
        values = numbers.uniform(size=(1, 3, 4, 512)).astype("float32") if kind == "decoder" else image(numbers)
        np.save(given, values)
        made[kind] = path, given, answer(network(values))
    return made


def answer(found):
    """The tensors of an answer, in Keras' order."""
    import keras

    return [np.asarray(tensor) for tensor in keras.tree.flatten(found)]


@pytest.mark.parametrize("imports", ["import tfstyle, keras", "import keras, tfstyle"])
def test_every_kind_of_file_is_loaded(imports, files, tmp_path):
    code = imports
    for kind, (path, given, _) in files.items():
        code += LOAD.format(path=str(path), given=str(given), found=str(tmp_path / f"{kind}.npz"))
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    for kind, (_, _, expected) in files.items():
        with np.load(tmp_path / f"{kind}.npz") as found:
            for name, wanted in zip(found.files, expected, strict=True):
                np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5)


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
