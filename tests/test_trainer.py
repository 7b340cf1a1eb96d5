"""Trainers: a step by hand, a training resumed as if it had not been interrupted, and Keras' own callbacks."""

import json
import math
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from conftest import Impatient, image
from trainers import OPTIONS, assert_same_state, batches_from, make_trainer, resumed, run, squares

from tfstyle.environment import keras
from tfstyle.errors import (
    DivergedError,
    InputError,
    Interrupted,
    MemoryLimitError,
    OutputError,
    UsageError,
    WeightsError,
)
from tfstyle.feedforward import serialization
from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.training import checkpoint, run_folder
from tfstyle.training.trainer import ObjectiveTrainer, adam, fit, name_slots, name_weights


def test_one_step_is_the_optimizers_on_the_gradient_of_the_sum():
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
    """Seven steps without a pause, and the lines of their losses."""
    trainer, folder = make_trainer(), tmp_path_factory.mktemp("whole")
    run(trainer, folder, 7)
    return trainer, run_folder.read_losses(folder)


def assert_same_losses(folder, expected):
    found = run_folder.read_losses(folder)
    assert [(list(row), row["step"]) for row in found] == [(list(row), row["step"]) for row in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-5)


def test_resumed_after_an_epoch_equals_uninterrupted(whole, tmp_path):
    """Weights, both moments of Adam, the step, and the lines of the losses."""
    first = make_trainer()
    run(first, tmp_path, 3)
    second = resumed(tmp_path)
    assert_same_state(second, first, tolerance=0)
    run(second, tmp_path, 7)
    assert_same_state(second, whole[0])
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 6, 7]
    assert_same_losses(tmp_path, whole[1])


def test_ctrl_c_amid_an_epoch_writes_the_state_and_resumed_it_equals_uninterrupted(whole, tmp_path):
    """The epoch continues where it was stopped; its end and its means are as without the interruption."""
    with pytest.raises(Interrupted, match="is at step 4; run the same training with `resume` to continue it"):
        run(make_trainer(), tmp_path, 7, callbacks=[Impatient(4)])
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 4]
    second = resumed(tmp_path)
    with pytest.raises(Interrupted, match="is at step 5"):
        run(second, tmp_path, 7, callbacks=[Impatient(5)])
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 5]
    run(second, tmp_path, 7)
    assert_same_state(second, whole[0])
    assert_same_losses(tmp_path, whole[1])


def test_means_are_continued_to_the_last_bit():
    trainer = make_trainer(eager=True)
    assert trainer.epoch_means() == {}
    losses = np.float32([0.1, 0.7, 1e-3, 123.456])
    for loss in losses[:3]:
        trainer.log({"loss": loss, "content": loss / 3, "style": loss / 7})
    means = json.loads(json.dumps(trainer.epoch_means()))
    again = make_trainer(eager=True)
    again.continue_epoch(means, 3)
    for each in (trainer, again):
        each.log({"loss": losses[3], "content": losses[3], "style": losses[3]})
    assert again.epoch_means() == trainer.epoch_means()
    assert trainer.epoch_means()["loss"] == pytest.approx(losses.mean(), rel=1e-6)


def test_the_line_of_an_epoch_is_its_plain_mean(whole, tmp_path):
    trainer, losses = make_trainer(eager=True), []
    for batch in batches_from(0).take(6):
        trainer.reset_metrics()
        losses.append(float(trainer.train_step(batch)["loss"]))
    rows = whole[1]
    assert set(rows[0]) == {"step", "loss", "content", "style"}
    assert [row["loss"] for row in rows[:2]] == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], rel=1e-3)


def test_stopped_before_the_first_state_a_training_can_be_resumed(tmp_path):
    with pytest.raises(Interrupted, match="is at step 1"):
        run(make_trainer(eager=True), tmp_path, 4, callbacks=[Impatient(1)])
    trainer = resumed(tmp_path, eager=True)
    assert trainer.step == 1
    run(trainer, tmp_path, 4)
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 4]


@pytest.mark.parametrize("left", ["nothing", "an older network", "a line too many"])
def test_files_left_by_a_crash_are_repaired_even_if_no_step_is_left(left, tmp_path):
    trainer = make_trainer(eager=True)
    run(trainer, tmp_path, 3)
    rows = run_folder.read_losses(tmp_path)
    if left == "nothing":
        (tmp_path / run_folder.NETWORK).unlink()
    elif left == "an older network":
        serialization.save(make_trainer(seed=8).network, tmp_path / run_folder.NETWORK)
    else:
        run_folder.write_losses(tmp_path, [*rows, {"step": 6, "loss": 1.0}])
    run(resumed(tmp_path, eager=True), tmp_path, 3)
    assert run_folder.read_losses(tmp_path) == rows
    found = serialization.load(tmp_path / run_folder.NETWORK).get_weights()
    for one, other in zip(found, trainer.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_crash_before_the_state_loses_no_line(tmp_path, monkeypatch):
    """The line is written first, and removed if the state of its step was not written."""
    run(make_trainer(eager=True), tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_state", lambda *args, **kwargs: None)
        run(resumed(tmp_path, eager=True), tmp_path, 6)
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 6]
    run(resumed(tmp_path, eager=True), tmp_path, 4)
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 4]


def test_fewer_steps_than_were_made_are_refused(tmp_path):
    run(make_trainer(eager=True), tmp_path, 3)
    with pytest.raises(UsageError, match="is at step 3; `steps` should be at least that, not 2"):
        run(resumed(tmp_path, eager=True), tmp_path, 2)


@pytest.mark.parametrize("text", [b"\xff\xfe\x00 no text", b"a picture, perhaps\n1\n", b"step,loss\n3,what\n"])
def test_damaged_losses_are_one_line_before_the_training(text, tmp_path):
    run(make_trainer(eager=True), tmp_path, 3)
    before = (tmp_path / run_folder.STATE).read_bytes()
    (tmp_path / run_folder.LOSSES).write_bytes(text)
    with pytest.raises(OutputError, match=r"losses.csv: is damaged or no file of losses; move it away"):
        run(resumed(tmp_path, eager=True), tmp_path, 6)
    assert (tmp_path / run_folder.STATE).read_bytes() == before


def test_losses_that_are_empty_or_of_an_older_version_are_continued(tmp_path):
    run(make_trainer(eager=True), tmp_path, 3)
    (tmp_path / run_folder.LOSSES).write_text("")
    run(resumed(tmp_path, eager=True), tmp_path, 4)
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [4]
    (tmp_path / run_folder.LOSSES).write_text("epoch,content,loss,step,style,val_loss\n0,0.5,1.5,3.0,1.0,NA\n")
    run(resumed(tmp_path, eager=True), tmp_path, 6)
    lines = (tmp_path / run_folder.LOSSES).read_text().splitlines()
    assert lines[:2] == ["content,loss,step,style", "0.5,1.5,3,1.0"]
    assert [line.split(",")[2] for line in lines[1:]] == ["3", "6"]


class Stopper(keras.callbacks.Callback):
    """Ends a training after a step, or fails at it."""

    def __init__(self, step, error=None):
        super().__init__()
        self.step, self.error = step, error

    def on_train_batch_end(self, batch, logs=None):
        if self.model.step == self.step:
            self.model.stop_training = True
            if self.error:
                raise self.error


def test_a_training_that_a_callback_stops_is_saved(tmp_path):
    run(make_trainer(eager=True), tmp_path, 7, callbacks=[Stopper(2)])
    assert serialization.load(tmp_path / run_folder.NETWORK).built
    trainer = resumed(tmp_path, eager=True)
    assert trainer.step == 2
    run(trainer, tmp_path, 7, callbacks=[Stopper(5)])
    assert trainer.step == resumed(tmp_path).step == 5
    assert [row["step"] for row in run_folder.read_losses(tmp_path)] == [3, 5]


@pytest.mark.parametrize("error", [RuntimeError("mine"), OutputError("sheet: cannot be written.")])
def test_a_callback_that_fails_loses_no_step(error, tmp_path):
    with pytest.raises(type(error), match=str(error)):
        run(make_trainer(eager=True), tmp_path, 7, callbacks=[Stopper(5, error)])
    assert resumed(tmp_path).step == 5


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (InputError("photos: holds no picture that can be used any more."), InputError, "^photos: holds no picture"),
        (MemoryError(), MemoryLimitError, "memory ran out at step 2; .* a smaller `size` or `batch`"),
    ],
)
def test_an_error_of_the_pictures_is_one_line(error, expected, message, tmp_path):
    def picture(number):
        if number == 2:
            raise error
        return np.full((2, 32, 36, 3), 0.5, np.float32)

    def failing(step):
        pictures = tf.data.Dataset.range(step, 1000).map(lambda n: tf.numpy_function(picture, [n], tf.float32))
        return pictures.map(lambda batch: tf.ensure_shape(batch, (2, 32, 36, 3)))

    with pytest.raises(expected, match=message) as caught:
        fit(make_trainer(eager=True), failing, tmp_path, steps=7, every=1, fixed=OPTIONS.fixed())
    assert "\n" not in str(caught.value)
    assert resumed(tmp_path).step == 2


def test_pictures_that_cannot_be_read_any_more_lose_no_step(tmp_path):
    def picture(number):
        if number == 2:
            raise InputError("photos: holds no picture that can be used any more.")
        return np.full((2, 32, 36, 3), 0.5, np.float32)

    def failing(step):
        pictures = tf.data.Dataset.range(step, 1000).map(lambda n: tf.numpy_function(picture, [n], tf.float32))
        return pictures.map(lambda batch: tf.ensure_shape(batch, (2, 32, 36, 3)))

    with pytest.raises(InputError):
        fit(make_trainer(eager=True), failing, tmp_path, steps=7, every=5, fixed=OPTIONS.fixed())
    assert resumed(tmp_path).step == 2


def test_the_file_of_a_network_says_nothing_of_when_it_was_made(tmp_path):
    """So that equal trainings leave equal files."""
    network = make_trainer().network
    serialization.save(network, tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as archive:
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert set(json.loads(archive.read("metadata.json"))) == {"keras_version"}
    again = serialization.load(tmp_path / "x.keras")
    for one, other in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_diverging_training_keeps_the_state_before(tmp_path):
    trainer = make_trainer(keras.optimizers.SGD(1.0))

    def blown(network, batch):
        factor = tf.where(trainer.optimizer.iterations >= 4, math.nan, 1.0)
        return {name: factor * term for name, term in squares(network, batch).items()}

    trainer.objective = blown
    with pytest.raises(DivergedError, match="not finite at step 5"):
        run(trainer, tmp_path / "a", 9)
    kept = make_trainer(keras.optimizers.SGD(1.0))
    checkpoint.restore_state(kept, tmp_path / "a" / run_folder.STATE, fixed=OPTIONS.fixed())
    assert kept.step == 3


def test_a_step_that_ruins_the_weights_is_not_saved(tmp_path):
    """Its loss was finite; the next one's would not be."""
    trainer = make_trainer(keras.optimizers.SGD(0.1))
    run(trainer, tmp_path, 3)
    before = (tmp_path / run_folder.STATE).read_bytes(), (tmp_path / run_folder.NETWORK).read_bytes()
    trainer.optimizer.learning_rate = math.nan
    with pytest.raises(DivergedError, match="weights are not finite at step 4"):
        run(trainer, tmp_path, 4)
    assert ((tmp_path / run_folder.STATE).read_bytes(), (tmp_path / run_folder.NETWORK).read_bytes()) == before


def test_a_state_of_other_options_or_another_network_or_none_is_refused(tmp_path):
    trainer, path = make_trainer(), tmp_path / "state.npz"
    checkpoint.save_state(trainer, path, fixed=OPTIONS.fixed())
    with pytest.raises(ValueError, match="was made with batch 2, not 8"):
        checkpoint.restore_state(trainer, path, fixed=OPTIONS.fixed() | {"batch": 8})
    wider = TransformerNet((4, 5, 7), blocks=0)
    wider.build((None, None, None, 3))
    other = ObjectiveTrainer(wider, squares)
    other.compile(adam(OPTIONS))
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
    np.testing.assert_allclose(
        serialization.load(tmp_path / "best.keras")(picture), trainer.network(picture), atol=1e-6
    )
    again = make_trainer(seed=8)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    third = again.fit(batches_from(6), epochs=3, steps_per_epoch=3, callbacks=[backup], verbose=0, shuffle=False)
    assert third.epoch == [2]
    trainer.fit(batches_from(6), epochs=1, steps_per_epoch=3, verbose=0, shuffle=False)
    assert_same_state(again, trainer)
    again.load_weights(tmp_path / "last.weights.h5")


def test_mixed_precision_stays_finite_and_is_saved_in_float32(tmp_path):
    trainer = make_trainer(dtype="mixed_bfloat16")
    run(trainer, tmp_path, 4)
    network = serialization.load(tmp_path / run_folder.NETWORK)
    assert network.dtype_policy.name == "float32"
    assert all(np.isfinite(weight.numpy()).all() for weight in network.weights)
    (batch,) = batches_from(9).take(1)
    np.testing.assert_allclose(network(batch), trainer.network(batch), atol=0.05)


def test_variables_are_named_without_the_names_of_network_and_optimizer_which_keras_numbers():
    one, other = make_trainer(), make_trainer()
    assert one.network.name != other.network.name
    weights, slots = name_weights(other.network), name_slots(other.optimizer, other.network)
    first = other.network.convolutions[0].name
    assert list(weights)[:2] == [f"{first}/kernel", f"{first}/bias"]
    assert list(slots)[:3] == ["iteration", f"{first}_kernel_momentum", f"{first}_kernel_velocity"]
    assert [id(weight) for weight in weights.values()] == [id(weight) for weight in other.network.weights]
    assert list(name_weights(one.network)) == list(weights)
    assert list(name_slots(one.optimizer, one.network)) == list(slots)


def test_weights_of_one_name_are_numbered():
    network = keras.Model()
    network.parts = [keras.layers.Dense(2, name="same") for _ in range(2)]
    for part in network.parts:
        part.build((None, 3))
    assert list(name_weights(network)) == ["same/kernel", "same/bias", "same/kernel-2", "same/bias-2"]


def test_a_state_from_before_the_variables_had_names_is_resumed(tmp_path):
    """As tfstyle wrote it: the variables of a group by position."""
    trainer, arrays = make_trainer(eager=True), {}
    run(trainer, tmp_path, 3)
    for group, variables in trainer.state().items():
        arrays |= {f"{group}/{index}": variable.numpy() for index, variable in enumerate(variables.values())}
    np.savez(tmp_path / run_folder.STATE, fixed=np.array(json.dumps(OPTIONS.fixed())), **arrays)
    assert_same_state(resumed(tmp_path), trainer, tolerance=0)


def test_initial_weights_are_a_function_of_the_seed():
    one, other, third = make_trainer(), make_trainer(), make_trainer(seed=4)
    assert_same_state(one, other, tolerance=0)
    assert np.abs(one.network.weights[0].numpy() - third.network.weights[0].numpy()).max() > 0
    kernel = make_trainer().network.convolutions[0].kernel.numpy()
    assert kernel.std() == pytest.approx(math.sqrt(2 / (9 * 9 * 3)), rel=0.1)
