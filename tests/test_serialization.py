"""Networks in files: there and back, by name or path, and what is no network."""

import json
import zipfile

import h5py
import numpy as np
import pytest
from conftest import NOT_THE_FILES_FAULT, embedded_decoder, image, small_generator, small_transformer

from tfstyle import weights
from tfstyle.environment import keras
from tfstyle.errors import WeightsError
from tfstyle.feedforward import adain, serialization


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_transformer_comes_back_as_it_was_in_float32(dtype, rng, tmp_path):
    network = small_transformer(filters=(3, 4, 5), blocks=1, dtype=dtype)
    serialization.save(network, tmp_path / "x.keras")
    again = serialization.load(tmp_path / "x.keras")
    assert (again.filters, again.blocks, again.dtype_policy.name) == ((3, 4, 5), 1, "float32")
    for one, other in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(tmp_path.iterdir()) == [tmp_path / "x.keras"]
    if dtype == "float32":
        pixels = image(rng, 21, 30)
        np.testing.assert_allclose(again(pixels), network(pixels), atol=1e-6)


def test_a_decoder_comes_back_as_it_was(rng, tmp_path):
    features = rng.uniform(size=(1, 3, 4, 512)).astype("float32")
    serialization.save(embedded_decoder(dtype="mixed_bfloat16"), tmp_path / "x.keras")
    expected = adain.decode(features, weights.read_embedded("adain-decoder"))
    np.testing.assert_allclose(serialization.load(tmp_path / "x.keras")(features), expected, atol=1e-5)


def numbered(folder, name, layers):
    """Groups of an HDF5 file → layers, named as Keras names layers of one class in a list."""
    return {f"{folder}/{name}{f'_{number}' if number else ''}": layer for number, layer in enumerate(layers)}


@pytest.fixture
def earlier_files(tmp_path):
    """Writes a network as the first release of the file format did, by hand: names and layout are those of then."""

    def write(network, class_name, groups):
        config = {"name": "any", "trainable": True, "filters": list(network.filters), "blocks": network.blocks}
        config["dtype"] = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
        config |= {"code_size": network.code_size} if class_name == "Generator" else {}
        description = {
            "module": "tfstyle.feedforward.transformer",
            "class_name": class_name,
            "config": config,
            "registered_name": f"tfstyle>{class_name}",
            "build_config": {"input_shape": [None, None, None, 3]},
        }
        with h5py.File(tmp_path / "inner.h5", "w") as file:
            for group, layer in groups.items():
                variables = layer if isinstance(layer, list) else layer.variables
                for number, variable in enumerate(variables):
                    file[f"{group}/vars/{number}"] = variable.numpy()
            for group in ("vars", "layers"):
                file.require_group(group)
        path = tmp_path / f"{class_name}.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3.10.0"}))
            archive.writestr("config.json", json.dumps(description))
            archive.write(tmp_path / "inner.h5", "model.weights.h5")
        return path

    return write


@pytest.mark.parametrize("load", [serialization.load, keras.saving.load_model])
@pytest.mark.parametrize("make", [small_transformer, small_generator])
def test_files_of_the_first_layout_are_loaded(make, load, earlier_files, rng):
    network, pixels = make(), image(rng)
    groups = numbered("convolutions", "conv2d", network.convolutions)
    groups |= numbered("layers", "instance_normalisation", network.normalizations)
    if make is small_generator:
        network.style_scale.assign(rng.uniform(1, 2, size=network.style_scale.shape))
        dense = [*network.style_encoder, network.mapping, *network.modulations]
        groups |= {"": [network.style_mean, network.style_scale]}
        groups |= numbered("describing", "dense", dense[:2])
        groups |= dict(list(numbered("layers", "dense", dense).items())[2:])
    again = load(earlier_files(network, "Generator" if make is small_generator else "Transformer", groups))
    assert type(again) is type(network)
    for one, other in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again(pixels), network(pixels))


def test_keras_loads_the_shipped_network():
    path = serialization.find("starry-night")
    for one, other in zip(
        keras.saving.load_model(path).get_weights(), serialization.load("starry-night").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_what_is_no_network_is_one_line(tmp_path):
    serialization.save(small_transformer(), tmp_path / "good.keras")
    data = (tmp_path / "good.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.keras").write_text("no network")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    for name in ("cut", "text", "empty"):
        with pytest.raises(WeightsError, match=f"{name}.keras: is damaged or no network of tfstyle") as caught:
            serialization.load(tmp_path / f"{name}.keras")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("raised", "expected", "message"), NOT_THE_FILES_FAULT)
def test_what_is_no_fault_of_the_file_is_told_as_such(raised, expected, message, tmp_path, monkeypatch):
    def fail(*rest):
        raise raised

    (tmp_path / "x.keras").touch()
    monkeypatch.setattr(type(tmp_path), "read_bytes", fail)
    with pytest.raises(expected, match=rf"x\.keras: {message}") as caught:
        serialization.load(tmp_path / "x.keras")
    assert "train it again" not in str(caught.value)


@pytest.fixture
def rewritten(tmp_path):
    """Writes the file of a small network, changed, and returns its path.

    Takes a function that changes the description in config.json, or one that changes the open HDF5 file of the weights.
    """
    network = small_transformer(filters=(3, 4, 5), blocks=1)

    def write(config=None, numbers=None, **options):
        path, inner = tmp_path / "x.keras", tmp_path / "inner.h5"
        serialization.save(network, path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        if config:
            description = json.loads(members["config.json"])
            members["config.json"] = json.dumps(config(description) or description)
        if numbers:
            inner.write_bytes(members["model.weights.h5"])
            with h5py.File(inner, "r+") as file:
                numbers(file)
            members["model.weights.h5"] = inner.read_bytes()
        with zipfile.ZipFile(path, "w", **options) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return write


def test_an_archive_written_again_comes_back(rewritten):
    assert serialization.load(rewritten(lambda description: None, lambda file: None)).filters == (3, 4, 5)


HOSTILE_CONFIGS = {
    "without build_config": (lambda description: description.pop("build_config") and None, "that it was built for"),
    "with an empty build_config": (lambda description: description.update(build_config={}), "that it was built for"),
    "for a billion channels": (
        lambda description: description.update(build_config={"input_shape": [None, None, None, 10**9]}),
        r"built for \[batch, height, width, 3\]",
    ),
    "of a million blocks": (lambda description: description["config"].update(blocks=10**6), "or 32 blocks"),
    "of a million filters": (
        lambda description: description["config"].update(filters=[10**6] * 3),
        "more than 512 filters",
    ),
    "of negative blocks": (lambda description: description["config"].update(blocks=-1), "or 32 blocks"),
    "of the largest network": (
        lambda description: description["config"].update(filters=[512] * 3, blocks=32),
        "larger network than is stored",
    ),
    "of filters that are text": (lambda description: description["config"].update(filters="abc"), "no integers"),
    "of an unknown precision": (lambda description: description["config"].update(dtype="x"), "unknown precision"),
    "of a precision that is any class": (
        lambda description: description["config"].update(dtype={"module": "os", "class_name": "system", "config": {}}),
        "'name'",
    ),
    "of an unknown option": (lambda description: description["config"].update(a=1), "no network of tfstyle"),
    "that is a list": (lambda description: [description], "no network of tfstyle"),
    "of a megabyte": (lambda description: description.update(a="x" * (1 << 20)), "config has more than"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE_CONFIGS.values(), ids=HOSTILE_CONFIGS)
def test_a_config_is_refused_in_one_line_before_anything_is_made_of_it(change, message, rewritten, little_memory):
    path = rewritten(change)
    with little_memory(), pytest.raises(WeightsError, match=message) as caught:
        serialization.load(path)
    assert "\n" not in str(caught.value)


KERNEL = "convolutions/conv2d_3/vars/0"


def without_kernel(file):
    del file[KERNEL]


def without_layer(file):
    del file["convolutions/conv2d_3"]


def unallocated(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (5000, 5000, 1, 1), "f4")


def of_another_shape(file):
    del file[KERNEL]
    file[KERNEL] = np.zeros((3, 3, 5, 6), "f4")


def elsewhere(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("other.h5", "x")


def set_to(number):
    def change(file):
        file[KERNEL][0, 0, 0, 0] = number

    return change


HOSTILE_NUMBERS = {
    "a kernel that is missing": (without_kernel, "no network of tfstyle"),
    "a layer that is missing": (without_layer, "no network of tfstyle"),
    "a kernel that is not stored": (unallocated, "more numbers than it holds"),
    "a kernel of another shape": (of_another_shape, "no network of tfstyle"),
    "a kernel elsewhere": (elsewhere, "links to other places"),
    "NaN": (set_to(np.nan), "not finite, or beyond"),
    "infinity": (set_to(-np.inf), "not finite, or beyond"),
    "3e38": (set_to(3e38), "not finite, or beyond"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE_NUMBERS.values(), ids=HOSTILE_NUMBERS)
def test_a_network_without_all_its_weights_or_with_absurd_ones_is_refused(change, message, rewritten, recwarn):
    path = rewritten(numbers=change)
    with pytest.raises(WeightsError, match=message) as caught:
        serialization.load(path)
    assert "\n" not in str(caught.value)
    assert not [warning for warning in recwarn if "could not" in str(warning.message)]  # Keras' own.


def test_a_compressed_archive_is_refused(rewritten):
    with pytest.raises(WeightsError, match="compressed or encrypted"):
        serialization.load(rewritten(compression=zipfile.ZIP_DEFLATED))


def test_another_kind_of_model_is_named(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    with pytest.raises(WeightsError, match=r"dense.keras: holds a Sequential; a network from tfstyle train"):
        serialization.load(tmp_path / "dense.keras")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("starry-nigth", "did you mean 'starry-night'"),
        ("none.keras", "no such network file"),
        ("x.h5", "a .keras file"),
    ],
)
def test_an_unknown_name_is_one_line(source, message):
    with pytest.raises(WeightsError, match=message):
        serialization.load(source)


def test_a_changed_shipped_network_is_refused(tmp_path, monkeypatch):
    data = bytearray(serialization.find("starry-night").read_bytes())
    data[-1] ^= 1
    (tmp_path / "starry-night.keras").write_bytes(data)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        serialization.load("starry-night")


def test_the_shipped_networks_are_small_and_load():
    assert serialization.shipped() == ["starry-night"]
    path = serialization.find("starry-night")
    assert path.stat().st_size < 4_000_000
    assert serialization.load("starry-night").filters == (16, 32, 64)
