"""Training: a step by hand, resuming as if nothing had happened, and Keras' own callbacks."""

import math

import numpy as np
import pytest
import tensorflow as tf
from conftest import Impatient, image

from tfstyle.environment import keras
from tfstyle.errors import DivergedError, Interrupted, WeightsError
from tfstyle.feedforward import checkpoint, fitting, records, saved
from tfstyle.feedforward.options import FastOptions
from tfstyle.feedforward.transformer import Transformer

OPTIONS = FastOptions(steps=7, size=32, batch=2)


def squares(network, batch):
    """A stand-in for perceptual losses: the picture's negative is wanted."""
    painted = network(batch, training=True)
    return {"content": tf.reduce_mean((painted - 1.0 + batch) ** 2), "style": tf.reduce_mean(painted**2) * 0.1}


def make_trainer(optimizer=None, seed=3, **kwargs):
    network = Transformer((4, 5, 6), blocks=0, **kwargs)
    network.build((None, None, None, 3))
    fitting.initialise(network, seed)
    trainer = fitting.Trainer(network, squares)
    trainer.compile(optimizer or fitting.adam(OPTIONS))
    return trainer


def batches_from(step):
    """Batches that are functions of the step."""

    def batch(number):
        seed = tf.stack([tf.cast(number, tf.int32), 1])
        return tf.random.stateless_uniform([2, 32, 36, 3], seed)

    return tf.data.Dataset.range(step, 1000).map(batch)


def run(trainer, folder, steps, **options):
    folder.mkdir(exist_ok=True)
    fitting.fit(trainer, batches_from, folder, steps=steps, every=3, fixed=OPTIONS.fixed(), **options)


def assert_same_state(found, expected, tolerance=1e-6):
    assert found.step == expected.step
    for name, variables in expected.state().items():
        for one, other in zip(found.state()[name], variables, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=tolerance, atol=tolerance)


def test_one_step_is_the_optimisers_on_the_gradient_of_the_sum():
    trainer = make_trainer(keras.optimizers.SGD(0.5))
    (batch,) = batches_from(0).take(1)
    before = [weight.numpy() for weight in trainer.network.trainable_variables]
    with tf.GradientTape() as tape:
        terms = squares(trainer.network, batch)
        loss = terms["content"] + terms["style"]
    gradients = tape.gradient(loss, trainer.network.trainable_variables)
    logs = trainer.train_step(batch)
    for weight, start, gradient in zip(trainer.network.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(weight, start - 0.5 * gradient, rtol=1e-5, atol=1e-6)
    assert float(logs["loss"]) == pytest.approx(float(loss))
    assert float(logs["step"]) == trainer.step == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Seven steps without a pause."""
    trainer = make_trainer()
    run(trainer, tmp_path_factory.mktemp("whole"), 7)
    return trainer


def test_resumed_after_an_epoch_equals_uninterrupted(whole, tmp_path):
    """Weights, both moments of Adam, and the step."""
    first, second = make_trainer(), make_trainer(seed=99)
    run(first, tmp_path, 3)
    checkpoint.restore_state(second, tmp_path / records.STATE, fixed=OPTIONS.fixed())
    assert_same_state(second, first, tolerance=0)
    run(second, tmp_path, 7)
    assert_same_state(second, whole)
    assert [row["step"] for row in records.read_losses(tmp_path)] == [3, 6, 7]


def test_ctrl_c_amid_an_epoch_writes_the_state_and_resumed_it_equals_uninterrupted(whole, tmp_path):
    stopped, resumed = make_trainer(), make_trainer(seed=5)
    with pytest.raises(Interrupted, match="holds step 4; the same command with --resume goes on"):
        run(stopped, tmp_path, 7, callbacks=[Impatient(4)])
    checkpoint.restore_state(resumed, tmp_path / records.STATE, fixed=OPTIONS.fixed())
    run(resumed, tmp_path, 7)
    assert_same_state(resumed, whole)


def test_a_diverging_training_keeps_the_state_before(tmp_path):
    trainer = make_trainer(keras.optimizers.SGD(1.0))

    def blown(network, batch):
        factor = tf.where(trainer.optimizer.iterations >= 4, math.nan, 1.0)
        return {name: factor * term for name, term in squares(network, batch).items()}

    trainer.objective = blown
    with pytest.raises(DivergedError, match="not finite at step 5"):
        run(trainer, tmp_path / "a", 9)
    kept = make_trainer(keras.optimizers.SGD(1.0))
    checkpoint.restore_state(kept, tmp_path / "a" / records.STATE, fixed=OPTIONS.fixed())
    assert kept.step == 3


def test_a_step_that_ruins_the_weights_is_not_saved(tmp_path):
    """Its loss was finite; the next one's would not be."""
    trainer = make_trainer(keras.optimizers.SGD(0.1))
    run(trainer, tmp_path, 3)
    before = (tmp_path / records.STATE).read_bytes(), (tmp_path / records.NETWORK).read_bytes()
    trainer.optimizer.learning_rate = math.nan
    with pytest.raises(DivergedError, match="weights are not finite at step 4"):
        run(trainer, tmp_path, 4)
    assert ((tmp_path / records.STATE).read_bytes(), (tmp_path / records.NETWORK).read_bytes()) == before


def test_a_state_of_other_numbers_or_another_network_or_none_is_refused(tmp_path):
    trainer, path = make_trainer(), tmp_path / "state.npz"
    checkpoint.save_state(trainer, path, fixed=OPTIONS.fixed())
    with pytest.raises(ValueError, match="was made with batch 2, not 8"):
        checkpoint.restore_state(trainer, path, fixed=OPTIONS.fixed() | {"batch": 8})
    wider = Transformer((4, 5, 7), blocks=0)
    wider.build((None, None, None, 3))
    other = fitting.Trainer(wider, squares)
    other.compile(fitting.adam(OPTIONS))
    with pytest.raises(WeightsError, match="of another network"):
        checkpoint.restore_state(other, path, fixed=OPTIONS.fixed())
    data = path.read_bytes()
    for damaged in (data[:500], b"nothing", b""):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged or no training state"):
            checkpoint.restore_state(trainer, path, fixed=OPTIONS.fixed())


def test_five_keras_callbacks_work_unchanged(tmp_path):
    trainer = make_trainer()
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.TensorBoard(tmp_path / "board"),
    ]
    history = trainer.fit(batches_from(0), epochs=2, steps_per_epoch=3, callbacks=callbacks, verbose=0, shuffle=False)
    assert history.history["step"] == [3.0, 6.0]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert list((tmp_path / "board").rglob("events*"))
    picture = tf.constant(image(np.random.default_rng(1), 33, 47))
    np.testing.assert_allclose(saved.load(tmp_path / "best.keras")(picture), trainer.network(picture), atol=1e-6)
    again = make_trainer(seed=8)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    third = again.fit(batches_from(6), epochs=3, steps_per_epoch=3, callbacks=[backup], verbose=0, shuffle=False)
    assert third.epoch == [2]
    trainer.fit(batches_from(6), epochs=1, steps_per_epoch=3, verbose=0, shuffle=False)
    assert_same_state(again, trainer)
    again.load_weights(tmp_path / "last.weights.h5")


def test_a_sheet_shows_photographs_above_their_paintings(tmp_path, rng):
    trainer = make_trainer()
    photographs = [image(rng, 33, 47), image(rng, 40, 30)]
    sheet = fitting.SampleSheet(tmp_path, trainer.network, photographs, every=2)
    run(trainer, tmp_path, 3, callbacks=[sheet])
    assert sorted(path.name for path in (tmp_path / records.SHEETS).iterdir()) == ["000000.jpg", "000002.jpg"]


def test_mixed_precision_stays_finite_and_is_saved_in_float32(tmp_path):
    trainer = make_trainer(dtype="mixed_bfloat16")
    run(trainer, tmp_path, 4)
    network = saved.load(tmp_path / records.NETWORK)
    assert network.dtype_policy.name == "float32"
    assert all(np.isfinite(weight.numpy()).all() for weight in network.weights)
    (batch,) = batches_from(9).take(1)
    np.testing.assert_allclose(network(batch), trainer.network(batch), atol=0.05)


def test_progress_logs_a_line_an_epoch(tmp_path, caplog, capsys):
    with caplog.at_level("INFO", logger="tfstyle"):
        run(make_trainer(), tmp_path, 5, callbacks=[fitting.Progress(5)])
    assert "step 3 of 5: content" in caplog.text
    assert "step 5 of 5" in caplog.text
    assert capsys.readouterr().out == ""


def test_first_weights_are_a_function_of_the_seed():
    one, other, third = make_trainer(), make_trainer(), make_trainer(seed=4)
    assert_same_state(one, other, tolerance=0)
    assert np.abs(one.network.weights[0].numpy() - third.network.weights[0].numpy()).max() > 0
    kernel = make_trainer().network.convolutions[0].kernel.numpy()
    assert kernel.std() == pytest.approx(math.sqrt(2 / (9 * 9 * 3)), rel=0.1)
