"""Networks in files: there and back, by name or path, and what is no network."""

import zipfile

import numpy as np
import pytest
from conftest import embedded_decoder, image, small_transformer

from tfstyle import weights
from tfstyle.environment import keras
from tfstyle.errors import WeightsError
from tfstyle.feedforward import networks, saved


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_transformer_comes_back_as_it_was_in_float32(dtype, rng, tmp_path):
    network = small_transformer(filters=(3, 4, 5), blocks=1, dtype=dtype)
    saved.save(network, tmp_path / "x.keras")
    again = saved.load(tmp_path / "x.keras")
    assert (again.filters, again.blocks, again.dtype_policy.name) == ((3, 4, 5), 1, "float32")
    for one, other in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(tmp_path.iterdir()) == [tmp_path / "x.keras"]
    if dtype == "float32":
        pixels = image(rng, 21, 30)
        np.testing.assert_allclose(again(pixels), network(pixels), atol=1e-6)


def test_a_decoder_comes_back_as_it_was(rng, tmp_path):
    features = rng.uniform(size=(1, 3, 4, 512)).astype("float32")
    saved.save(embedded_decoder(dtype="mixed_bfloat16"), tmp_path / "x.keras")
    expected = networks.decode(features, weights.read_embedded("adain-decoder"))
    np.testing.assert_allclose(saved.load(tmp_path / "x.keras")(features), expected, atol=1e-5)


def test_what_is_no_network_is_one_line(tmp_path):
    saved.save(small_transformer(), tmp_path / "good.keras")
    data = (tmp_path / "good.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.keras").write_text("no network")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    for name in ("cut", "text", "empty"):
        with pytest.raises(WeightsError, match=f"{name}.keras: is damaged or no network of tfstyle") as caught:
            saved.load(tmp_path / f"{name}.keras")
        assert "\n" not in str(caught.value)


def test_another_kind_of_model_is_named(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    with pytest.raises(WeightsError, match=r"dense.keras: holds a Sequential; a network from tfstyle train"):
        saved.load(tmp_path / "dense.keras")


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
        saved.load(source)


def test_a_changed_shipped_network_is_refused(tmp_path, monkeypatch):
    data = bytearray(saved.find("starry-night").read_bytes())
    data[-1] ^= 1
    (tmp_path / "starry-night.keras").write_bytes(data)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        saved.load("starry-night")


def test_the_shipped_networks_are_small_and_load():
    assert saved.shipped() == ["starry-night"]
    path = saved.find("starry-night")
    assert path.stat().st_size < 4_000_000
    assert saved.load("starry-night").filters == (16, 32, 64)
