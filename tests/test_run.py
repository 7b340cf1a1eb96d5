"""A training in its folder: started, resumed, overwritten, or on several devices."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, image
from trainers import batches_from, make_trainer

from tfstyle.errors import OutputError, UsageError
from tfstyle.training import run_folder
from tfstyle.training.options import FastOptions
from tfstyle.training.run import Run, list_names


@pytest.fixture
def train(rng, tmp_path):
    """A training of a small network in a folder, whose path is a string."""
    sample = image(rng, 33, 47)

    def train(*, seed=0, fixed=None, **place):
        trainer = make_trainer(eager=True)
        options = FastOptions(steps=2, size=32, batch=2, save_every=2, seed=seed)
        run = Run(str(tmp_path / "out"), [sample], **place)
        return run.fit(trainer, batches_from, options, fixed=fixed or {"kind": "fast"}, stylize=trainer.network)

    return train


def test_a_training_leaves_network_state_losses_curves_and_sheets(train, tmp_path):
    assert train() == tmp_path / "out" / run_folder.NETWORK
    names = {run_folder.NETWORK, run_folder.STATE, run_folder.LOSSES, run_folder.CURVES, run_folder.SHEETS}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert sorted(path.name for path in (tmp_path / "out" / run_folder.SHEETS).iterdir()) == [
        "000000.jpg",
        "000002.jpg",
    ]


def test_a_training_is_neither_overwritten_unasked_nor_started_twice(train, tmp_path):
    train()
    before = (tmp_path / "out" / run_folder.STATE).read_bytes()
    with pytest.raises(
        OutputError, match="holds a training; continue it with `resume`, or start again with `overwrite`"
    ):
        train()
    assert (tmp_path / "out" / run_folder.STATE).read_bytes() == before
    train(resume=True)
    assert (tmp_path / "out" / run_folder.STATE).read_bytes() == before
    train(overwrite=True, seed=1)
    assert (tmp_path / "out" / run_folder.STATE).read_bytes() != before


def test_a_training_is_resumed_with_its_own_options_and_values_alone(train):
    train(fixed={"kind": "fast", "content images": ["a.jpg"]})
    with pytest.raises(UsageError, match="was made with seed 0, not 1"):
        train(resume=True, seed=1, fixed={"kind": "fast", "content images": ["a.jpg"]})
    with pytest.raises(UsageError, match=r"was made with content images \['a.jpg'\], not \['b.jpg'\]"):
        train(resume=True, fixed={"kind": "fast", "content images": ["b.jpg"]})


def test_pictures_are_recorded_by_name():
    assert list_names(["a/b.jpg", Path("/c/d.png")]) == ["b.jpg", "d.png"]


SHARED = """
import sys
import numpy as np
import tensorflow as tf
sys.path.insert(0, sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import trainers as made
from tfstyle.environment import keras
from tfstyle.training import checkpoint
from tfstyle.training.run import Run
from pathlib import Path

folder = Path(sys.argv[2])
alone = made.make_trainer(keras.optimizers.SGD(0.5))
made.run(alone, folder / "alone", 3)
run = Run(folder / "shared", [], strategy=tf.distribute.MirroredStrategy())
strategy = run.share(2)
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    shared = made.make_trainer(keras.optimizers.SGD(0.5), seed=3)
    made.run(shared, folder / "shared", 2)
    again = made.make_trainer(keras.optimizers.SGD(0.5), seed=9)
    checkpoint.restore_state(again, folder / "shared" / "state.npz", fixed=made.OPTIONS.fixed())
    made.run(again, folder / "shared", 3)
made.assert_same_state(again, alone, tolerance=1e-5)
try:
    run.share(3)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_devices_share_a_batch_and_learn_what_one_does(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SHARED, ROOT / "tests", tmp_path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == "`batch` should be a multiple of the 2 devices that share it, not 3.\n"
