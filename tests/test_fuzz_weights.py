"""Damaged weight files, networks and training states, at random with fixed seeds: read, or refused in one line."""

import io
import random
import sys
import types
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from conftest import small_transformer
from torch_files import FORMATS

from tfstyle import weights
from tfstyle.errors import TfstyleError, WeightsError
from tfstyle.feedforward import serialization
from tfstyle.training import checkpoint

resource = pytest.importorskip("resource")  # Windows has none.

BLOCKS = ((2,), (3,))
"""A VGG of two convolutions."""

MEGABYTES = 300
"""By how much all damaged files of a kind together may raise the peak memory of the process."""


def mutated(data, numbers):
    """Changes data in one to four places: bytes are set, removed, repeated or copied, or the end is cut off."""
    data = bytearray(data)
    for _ in range(numbers.randint(1, 4)):
        start = numbers.randrange(len(data) + 1)
        end = min(len(data), start + numbers.choice((1, 1, 2, 4, 8, 64)))
        kind = numbers.randrange(6)
        if kind == 0:
            data[start:end] = numbers.randbytes(end - start)
        elif kind == 1:
            data[start:end] = bytes([numbers.choice((0, 0x7F, 0x80, 0xFF))]) * (end - start)
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end] * numbers.choice((1, 2, 50))
        elif kind == 4:
            data[start:end] = data[numbers.randrange(len(data) + 1) :][: end - start]
        elif numbers.random() < 0.2:
            del data[start:]
    return bytes(data)


def mutated_member(data, numbers):
    """Rewrites an archive with one of its members damaged."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(stream, "w") as after:
        names = before.namelist()
        chosen = numbers.choice(names)
        for name in names:
            after.writestr(name, mutated(before.read(name), numbers) if name == chosen else before.read(name))
    return stream.getvalue()


def peak():
    """The peak memory of this process, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def refusal(read, path):
    """The error that reading raises; None if there is none."""
    try:
        read(path)
    except TfstyleError as error:
        return error
    return None


def check(read, path, whole, changes, *, count):
    """Reads `count` damaged files, and the undamaged one before and after."""
    path.write_bytes(whole)
    read(path)
    before, refused = peak(), 0
    for seed in range(count):
        path.write_bytes(changes[seed % len(changes)](whole, random.Random(seed)))
        error = refusal(read, path)
        assert error is None or isinstance(error, WeightsError) or "was made with" in str(error), seed
        assert "\n" not in str(error), seed
        refused += error is not None
    path.write_bytes(whole)
    read(path)
    assert refused > count / 4
    assert peak() - before < MEGABYTES


@pytest.fixture
def arrays(rng):
    """Kernels and biases of the small VGG."""
    layers = [("block1_conv1", 3, 2), ("block2_conv1", 2, 3)]
    whole = {f"{layer}.kernel": rng.normal(size=(3, 3, i, o)).astype("float32") for layer, i, o in layers}
    return whole | {f"{layer}.bias": rng.normal(size=o).astype("float32") for layer, _, o in layers}


def read_weights(path):
    weights.read(path, blocks=BLOCKS)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_torch_files(kind, arrays, tmp_path):
    layers = {
        f"features.{2 * n}.{part}": arrays[f"block{n + 1}_conv1.{name}"]
        for n in range(2)
        for part, name in (("weight", "kernel"), ("bias", "bias"))
    }
    turned = {name: np.ascontiguousarray(array.transpose()) for name, array in layers.items()}
    whole = FORMATS[kind](turned)
    check(read_weights, tmp_path / "w.pth", whole, [mutated, mutated_member][: 1 + (kind == "zip")], count=300)


def test_damaged_safetensors_files(arrays, tmp_path):
    check(read_weights, tmp_path / "w.safetensors", safetensors.numpy.save(arrays), [mutated], count=300)


def test_damaged_hdf5_files(arrays, tmp_path):
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        for name, array in arrays.items():
            file[name.replace(".", "/")] = array
    check(read_weights, tmp_path / "w.h5", (tmp_path / "whole.h5").read_bytes(), [mutated], count=300)


def test_damaged_networks(tmp_path):
    serialization.save(small_transformer(filters=(1, 1, 1), blocks=0), tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    check(serialization.load, tmp_path / "x.keras", whole, [mutated, mutated_member], count=60)


def make_trainer(step):
    """A stand-in with what `checkpoint` uses of a trainer: its step, and its variables by name."""
    kernel, iterations = tf.Variable(np.full((2, 3), step, "float32")), tf.Variable(step, dtype="int64")
    return types.SimpleNamespace(
        step=step, state=lambda: {"network": {"kernel": kernel}, "optimizer": {"iteration": iterations}}
    )


def test_damaged_states(tmp_path):
    fixed = {"batch": 2, "content_images": ["a.jpg", "b.jpg"]}
    checkpoint.save_state(make_trainer(7), tmp_path / "whole.npz", fixed=fixed)
    whole = (tmp_path / "whole.npz").read_bytes()

    def read(path):
        checkpoint.restore_state(make_trainer(0), path, fixed=fixed)

    check(read, tmp_path / "state.npz", whole, [mutated, mutated_member], count=300)
