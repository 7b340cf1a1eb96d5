"""Trains a network: Keras trainers, and a `fit` that can be interrupted and resumed.

    trainer = ObjectiveTrainer(network, objective)
    trainer.compile(adam(options))
    fit(trainer, batches_from, folder, steps=4000, every=200, fixed=options.fixed())

A `Trainer` is a Keras model, so `trainer.fit(dataset, callbacks=[...])` works with every Keras callback as well. The
function `fit` adds a state file from which a training continues as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import objective
from tfstyle.distribution import LOST, LOST_MESSAGE, Devices
from tfstyle.environment import keras, tf
from tfstyle.errors import DivergedError, Interrupted, MemoryLimitError, UsageError, WorkerError
from tfstyle.feedforward import serialization
from tfstyle.training import checkpoint, dataset, run_folder

Objective = Callable[[keras.Model, Any], Mapping[str, tf.Tensor]]
"""A function of a network and a batch that returns scalar terms; their sum (`objective.total`) is minimized."""


class Trainer(keras.Model):
    """Base class of the trainers: a network, running means of its losses, and a state that can be saved and restored.

    Args:
        network: a built model, which is saved and makes the sample sheets.
        terms: names of the terms of the loss, to be logged.

    A subclass implements `train_step`, which makes one step of `optimizer` on `trained_network` and returns
    `log(terms)`. If its next step depends on more than the network and the optimizer, it extends `state`.

    `compile` takes the optimizer and builds it. `fit` takes a dataset of whatever batches `train_step` takes; its logs
    are "loss" and the terms (means over the epoch), and "step". `save` writes the network alone.
    """

    def __init__(self, network: keras.Model, *, terms: Sequence[str]) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.network = network
        self.means = {name: keras.metrics.Mean(name=name) for name in ("loss", *terms)}
        self.built = True

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Takes the optimizer and builds its variables, so that a state can be restored into them."""
        super().compile(optimizer=optimizer, **({"jit_compile": False} | kwargs))
        optimizer.build(self.trained_network.trainable_variables)

    @property
    def trained_network(self) -> keras.Model:
        """The network whose weights the optimizer updates: `network` itself, unless a subclass overrides it."""
        return self.network

    def call(self, batch: Any, training: bool = False) -> Any:
        """Returns the network's output."""
        return self.network(batch, training=training)

    @property
    def metrics(self) -> list:
        """The running means, which Keras resets at each epoch."""
        return list(self.means.values())

    @property
    def step(self) -> int:
        """Number of steps made so far."""
        return int(self.optimizer.iterations.numpy())

    def state(self) -> dict[str, Mapping[str, Any]]:
        """Returns all variables that the next step depends on, by group and name, each with `numpy` and `assign`."""
        return {
            "network": name_weights(self.network),
            "optimizer": name_slots(self.optimizer, self.trained_network),
        }

    def log(self, terms: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """Updates the means over the epoch, with 0 for terms that are missing, and returns them and the step."""
        for name, mean in self.means.items():
            mean.update_state(terms.get(name, 0.0))
        means = {name: mean.result() for name, mean in self.means.items()}
        logs = means | {"step": tf.cast(self.optimizer.iterations, tf.float32)}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            return {name: value[None] for name, value in logs.items()}  # Keras averages over a first axis.
        return logs

    def epoch_means(self) -> dict[str, float]:
        """Returns the means of the loss and its terms over the epoch so far; empty before the epoch's first step."""
        counts = {name: float(mean.count.numpy()) for name, mean in self.means.items()}
        if not all(counts.values()):
            return {}
        return {name: float(mean.total.numpy()) / counts[name] for name, mean in self.means.items()}

    def continue_epoch(self, means: Mapping[str, float], steps: int) -> None:
        """Sets the running means to those of an epoch's first steps, as from `epoch_means`."""
        count = steps * self.distribute_strategy.num_replicas_in_sync
        for name, mean in self.means.items():
            if name in means:
                mean.total.assign(np.float32(means[name] * count))
                mean.count.assign(count)

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Writes the network to a `.keras` file; `keras.callbacks.ModelCheckpoint` calls this."""
        serialization.to_float32(self.network).save(filepath, overwrite=overwrite, **kwargs)


class ObjectiveTrainer(Trainer):
    """Minimizes an objective of one network.

    Args:
        network: a built model; its weights are trained and saved.
        objective: the objective to minimize.
        terms: names of its terms, to be logged.
    """

    def __init__(
        self, network: keras.Model, objective: Objective, *, terms: Sequence[str] = ("content", "style")
    ) -> None:
        super().__init__(network, terms=terms)
        self.objective = objective

    def train_step(self, batch: Any) -> dict[str, Any]:
        """Makes one step on one batch; each of several replicas adds the gradient of its share of the batch."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            terms = dict(self.objective(self.network, batch))
            terms["loss"] = objective.total(terms)
            share = terms["loss"] / replicas
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(share, variables), variables)
        return self.log(terms)


def name_weights(network: keras.Model) -> dict[str, Any]:
    """Returns the weights of a network, in its order, by their paths in it, such as "layer/kernel"."""
    return _key_by_name(network.weights, [weight.path.removeprefix(f"{network.name}/") for weight in network.weights])


def name_slots(optimizer: keras.optimizers.Optimizer, network: keras.Model) -> dict[str, Any]:
    """Returns the variables of an optimizer, in its order, by name, such as "iteration" or "layer_kernel_momentum".

    Args:
        optimizer: built on the weights of `network`.
        network: its name, the prefix of the variables' names, is left out because it may differ between processes.
    """
    variables = optimizer.variables
    return _key_by_name(variables, [variable.name.removeprefix(f"{network.name}_") for variable in variables])


def _key_by_name(variables: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Returns variables by name; of several with the same name, the later ones are numbered."""
    keyed: dict[str, Any] = {}
    for index, (name, variable) in enumerate(zip(names, variables, strict=True)):
        earlier = names[:index].count(name)
        keyed[f"{name}-{earlier + 1}" if earlier else name] = variable
    return keyed


def initialize(network: keras.Model, seed: int) -> None:
    """Draws the kernels of a built network from He's normal distribution, the same for the same seed.

    References:
        He, Zhang, Ren, Sun: Delving Deep into Rectifiers (ICCV 2015), equation 10.
    """
    numbers = np.random.default_rng(seed)
    for weight in network.trainable_variables:
        if len(weight.shape) > 1:
            scale = math.sqrt(2.0 / math.prod(weight.shape[:-1]))
            weight.assign(numbers.normal(scale=scale, size=weight.shape).astype(np.float32))


def adam(options: Any, **kwargs: Any) -> keras.optimizers.Adam:
    """Makes an Adam optimizer with cosine decay of the learning rate to a twentieth.

    Args:
        options: gives `learning_rate`, the initial one, and `steps`, over which it decays.
        **kwargs: arguments of `keras.optimizers.Adam`.
    """
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, options.steps, alpha=0.05)
    return keras.optimizers.Adam(rate, **kwargs)


class TrainingState(keras.callbacks.Callback):
    """Saves a training every few steps and at the end, and stops it at the last step.

    Args:
        folder: an existing folder, where `STATE`, `NETWORK` and `LOSSES` are written.
        every: number of steps in an epoch.
        steps: the last step.
        fixed: as for `checkpoint.save_state`.
        rows: lines of `LOSSES` so far. If the last is of an unfinished epoch, that epoch is continued.

    Raises:
        DivergedError: if a loss or a weight is not finite; the last saved state is kept.
        OutputError: if a file cannot be written.
    """

    def __init__(
        self, folder: Path, *, every: int, steps: int, fixed: Mapping[str, Any], rows: Sequence[run_folder.Row] = ()
    ) -> None:
        super().__init__()
        self.folder, self.every, self.steps, self.fixed = Path(folder), every, steps, dict(fixed)
        self.rows = list(rows)
        self.saved_step: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Restores the means of an unfinished epoch."""
        step = self.model.step
        if step % self.every and self.rows and self.rows[-1]["step"] == step:
            begin = self.rows[-2]["step"] if len(self.rows) > 1 else 0
            self.model.continue_epoch(self.rows[-1], step - int(begin))
            self.rows.pop()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves at the end of an epoch and at the last step."""
        step = self.model.step
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise DivergedError(f"the loss is not finite at step {step}; choose a smaller `learning_rate`.")
        if step % self.every == 0 or step >= self.steps:
            self.save()
        if step >= self.steps:
            self.model.stop_training = True

    def save(self) -> None:
        """Saves the losses, the state and the network; the losses come first, so that a crash loses none of them."""
        step, means = self.model.step, self.model.epoch_means()
        if means:
            self.rows = [*(row for row in self.rows if row["step"] < step), {"step": step} | means]
        run_folder.write_losses(self.folder, self.rows)
        checkpoint.save_state(self.model, self.folder / run_folder.STATE, fixed=self.fixed)
        serialization.save(self.model.network, self.folder / run_folder.NETWORK)
        self.saved_step = step


def _fit_epochs(
    trainer: Trainer,
    batches_from: Callable[[int], tf.data.Dataset],
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    steps: int,
    every: int,
) -> None:
    """Trains the rest of an unfinished epoch, then whole epochs; the first callback stops at the last step."""
    start = trainer.step
    for length, epochs in ((-start % every, start // every + 1), (every, steps)):
        if length and trainer.step < steps and not trainer.stop_training:
            trainer.fit(
                batches_from(trainer.step),
                initial_epoch=trainer.step // every,
                epochs=epochs,
                steps_per_epoch=length,
                callbacks=callbacks,
                shuffle=False,  # The dataset is in order.
                verbose=0,
            )


def fit(
    trainer: Trainer,
    batches_from: Callable[[int], tf.data.Dataset],
    folder: Path,
    *,
    steps: int,
    every: int,
    fixed: Mapping[str, Any],
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains up to a step, from the step that the trainer has reached.

    Args:
        trainer: a compiled trainer; already restored, if an earlier training is to be continued.
        batches_from: a function of a step that returns an endless dataset beginning with that step's batch.
        folder: the existing folder of the training; `STATE`, `NETWORK`, `LOSSES` and `CURVES` are written into it.
        steps: the last step.
        every: number of steps in an epoch; at its multiples the state and a line of `LOSSES` are written.
        fixed: as for `checkpoint.save_state`.
        callbacks: further Keras callbacks. If one stops the training (`model.stop_training`) or raises, the training
            can be resumed.

    Raises:
        UsageError: if the trainer has made more than `steps` steps already.
        InputError: if no picture can be read any more.
        DivergedError: if a loss is not finite.
        OutputError: if a file cannot be written, or `LOSSES` cannot be read.
        MemoryLimitError: if memory runs out.
        WorkerError: if another of several workers no longer answers.
        Interrupted: on Ctrl-C, after the state has been written, unless several workers train together: it is read
            from all of them.
    """
    start, alone = trainer.step, Devices(trainer.distribute_strategy).workers == 1
    if steps < start:
        raise UsageError(f"{folder}: is at step {start}; `steps` should be at least that, not {steps}.")
    rows = [row for row in run_folder.read_losses(folder) if row["step"] <= start] if start else []
    state = TrainingState(folder, every=every, steps=steps, fixed=fixed, rows=rows)
    state.set_model(trainer)
    trainer.reset_metrics()
    trainer.stop_training = False
    if start:  # A crash between writing two files may have left later losses, and an older network or none.
        run_folder.write_losses(folder, rows)
        serialization.save(trainer.network, folder / run_folder.NETWORK)
        state.saved_step = start
    try:
        _fit_epochs(trainer, batches_from, [state, *callbacks], steps=steps, every=every)
    except KeyboardInterrupt:
        if alone:
            state.save()
        raise Interrupted(
            f"{folder}: is at step {state.saved_step or 0}; run the same training with `resume` to continue it."
        ) from None
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryLimitError(
            f"memory ran out at step {trainer.step}; close other programs, or begin with a smaller `size` or `batch`."
        ) from error
    except LOST as error:
        raise WorkerError(LOST_MESSAGE) from error
    except Exception as error:
        cause = dataset.find_cause(error)
        if not alone:
            raise (cause or error) from error
        if cause or not isinstance(error, (DivergedError, tf.errors.OpError)):
            with contextlib.suppress(Exception):  # It occurred between two steps, so the state is consistent.
                state.save()
        if cause:
            raise cause from error
        raise
    if trainer.step != state.saved_step:
        state.save()
    if state.rows:
        run_folder.draw_curves(folder, state.rows)
