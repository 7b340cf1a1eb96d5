"""A small trainer, batches that follow from the step, and runs of both, for tests of trainings."""

import numpy as np
import tensorflow as tf

from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.training import checkpoint, run_folder
from tfstyle.training.options import FastOptions
from tfstyle.training.trainer import ObjectiveTrainer, adam, fit, initialize

OPTIONS = FastOptions(steps=7, size=32, batch=2)


def squares(network, batch):
    """A stand-in for perceptual losses: the target is the negative image."""
    output = network(batch, training=True)
    return {"content": tf.reduce_mean((output - 1.0 + batch) ** 2), "style": tf.reduce_mean(output**2) * 0.1}


def make_trainer(optimizer=None, seed=3, eager=False, **kwargs):
    network = TransformerNet((4, 5, 6), blocks=0, **kwargs)
    network.build((None, None, None, 3))
    initialize(network, seed)
    trainer = ObjectiveTrainer(network, squares)
    trainer.compile(optimizer or adam(OPTIONS), run_eagerly=eager)
    return trainer


def resumed(folder, **options):
    """A trainer of other initial weights, restored from the training in a folder."""
    trainer = make_trainer(seed=99, **options)
    checkpoint.restore_state(trainer, folder / run_folder.STATE, fixed=OPTIONS.fixed())
    return trainer


def batches_from(step):
    """Batches that are functions of the step."""

    def batch(number):
        seed = tf.stack([tf.cast(number, tf.int32), 1])
        return tf.random.stateless_uniform([2, 32, 36, 3], seed)

    return tf.data.Dataset.range(step, 1000).map(batch)


def run(trainer, folder, steps, **options):
    folder.mkdir(exist_ok=True)
    fit(trainer, batches_from, folder, steps=steps, every=3, fixed=OPTIONS.fixed(), **options)


def assert_same_state(found, expected, tolerance=1e-6):
    """That two trainers are at one step and have the same variables, in number, order and value."""
    assert found.step == expected.step
    for group, variables in expected.state().items():
        assert list(found.state()[group]) == list(variables)
        for name, variable in variables.items():
            given = found.state()[group][name]
            np.testing.assert_allclose(given.numpy(), variable.numpy(), rtol=tolerance, atol=tolerance, err_msg=name)
