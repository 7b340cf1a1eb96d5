"""Trains a network: a Keras trainer, its state, and a `fit` that can be interrupted and resumed.

    trainer = Trainer(network, objective)
    trainer.compile(adam(...))
    fit(trainer, batches_from, folder, steps=4000, every=200, ...)

A `Trainer` is a Keras model: `trainer.fit(dataset, callbacks=[...])` works with every Keras callback as well. `fit`
adds what Keras has not: a state from which a training goes on as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import objective
from tfstyle.environment import keras, tf
from tfstyle.errors import DivergedError, Interrupted, MemoryLimitError, UsageError
from tfstyle.feedforward import serialization
from tfstyle.training import checkpoint, dataset, run_folder

Objective = Callable[[keras.Model, Any], Mapping[str, tf.Tensor]]
"""Network and batch to scalar terms; their sum (`objective.total`) is minimized."""


class Trainer(keras.Model):
    """A network that is being trained.

    Args:
        network: a built model; only its weights are trained and saved.
        objective: what is minimized.
        terms: names of its terms, to be logged.

    `compile` takes the optimiser and builds it. `fit` takes a dataset of whatever batches the objective understands;
    its logs are "loss", the terms (means over the epoch), and "step". `save` writes the network alone.
    """

    def __init__(
        self, network: keras.Model, objective: Objective, *, terms: Sequence[str] = ("content", "style")
    ) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.network = network
        self.objective = objective
        self.means = {name: keras.metrics.Mean(name=name) for name in ("loss", *terms)}
        self.built = True

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Takes the optimiser and builds its variables, so that a state can be restored into them."""
        super().compile(optimizer=optimizer, **({"jit_compile": False} | kwargs))
        optimizer.build(self.trained.trainable_variables)

    @property
    def trained(self) -> keras.Model:
        """What the optimiser moves: the network itself."""
        return self.network

    def call(self, batch: Any, training: bool = False) -> Any:
        """The network's own answer."""
        return self.network(batch, training=training)

    @property
    def metrics(self) -> list:
        """The running means, which Keras resets at each epoch."""
        return list(self.means.values())

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self.optimizer.iterations.numpy())

    def state(self) -> dict[str, Sequence[Any]]:
        """Everything that the next step depends on: name → variables, each with `numpy` and `assign`."""
        return {"network": self.network.weights, "optimizer": self.optimizer.variables}

    def train_step(self, batch: Any) -> dict[str, Any]:
        """One step on one batch; each of several replicas sees its share and adds it to the gradient."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            terms = dict(self.objective(self.network, batch))
            terms["loss"] = objective.total(terms)
            share = terms["loss"] / replicas
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(share, variables), variables)
        return self.log(terms)

    def log(self, terms: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """Means over the epoch of the terms that are logged, 0 for those without weight, and the step."""
        for name, mean in self.means.items():
            mean.update_state(terms.get(name, 0.0))
        means = {name: mean.result() for name, mean in self.means.items()}
        return means | {"step": tf.cast(self.optimizer.iterations, tf.float32)}

    def epoch_means(self) -> dict[str, float]:
        """Means of the loss and its terms over the epoch so far; empty before the first step of one."""
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
        """Writes the network, as `ModelCheckpoint` wants it, to a `.keras` file."""
        serialization.in_float32(self.network).save(filepath, overwrite=overwrite, **kwargs)


def initialize(network: keras.Model, seed: int) -> None:
    """Draws the kernels of a built network anew: He's normal numbers, the same for the same seed.

    References:
        He, Zhang, Ren, Sun: Delving Deep into Rectifiers (ICCV 2015), equation 10.
    """
    numbers = np.random.default_rng(seed)
    for weight in network.trainable_variables:
        if len(weight.shape) > 1:
            scale = math.sqrt(2.0 / math.prod(weight.shape[:-1]))
            weight.assign(numbers.normal(scale=scale, size=weight.shape).astype(np.float32))


def adam(options: Any, **kwargs: Any) -> keras.optimizers.Adam:
    """Adam whose rate falls from `options.learning_rate` to a twentieth over `options.steps`, along a cosine."""
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, options.steps, alpha=0.05)
    return keras.optimizers.Adam(rate, **kwargs)


class TrainingState(keras.callbacks.Callback):
    """Saves a training every few steps and at the end, and stops it at the last step.

    Args:
        folder: where `STATE`, `NETWORK` and `LOSSES` go; it is there.
        every: steps of an epoch.
        steps: the last step.
        fixed: as for `checkpoint.save_state`.
        rows: lines of `LOSSES` so far; the last may be that of an epoch that was interrupted, which then goes on.

    Raises:
        DivergedError: at a loss or a state that is not finite; the state before it is kept.
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
        """Goes on with the line of an interrupted epoch."""
        step = self.model.step
        if step % self.every and self.rows and self.rows[-1]["step"] == step:
            begin = self.rows[-2]["step"] if len(self.rows) > 1 else 0
            self.model.continue_epoch(self.rows[-1], step - int(begin))
            self.rows.pop()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves if it is its turn."""
        step = self.model.step
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise DivergedError(f"the loss is not finite at step {step}; choose a smaller `learning_rate`.")
        if step % self.every == 0 or step >= self.steps:
            self.save()
        if step >= self.steps:
            self.model.stop_training = True

    def save(self) -> None:
        """Saves now: the losses before the state, so that a crash in between loses no line, then the network."""
        step, means = self.model.step, self.model.epoch_means()
        if means:
            self.rows = [*(row for row in self.rows if row["step"] < step), {"step": step} | means]
        run_folder.write_losses(self.folder, self.rows)
        checkpoint.save_state(self.model, self.folder / run_folder.STATE, fixed=self.fixed)
        serialization.save(self.model.network, self.folder / run_folder.NETWORK)
        self.saved_step = step


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
    """Trains up to a step, from wherever the trainer stands.

    Args:
        trainer: compiled, restored if it is to go on.
        batches_from: step to an endless dataset that begins with that step's batch.
        folder: the training's, which is there; `STATE`, `NETWORK`, `LOSSES` and `CURVES` go into it.
        steps: the last step.
        every: steps of an epoch, which ends at a multiple of it with a state and a line of `LOSSES`.
        fixed: as for `checkpoint.save_state`.
        callbacks: further ones, Keras' or your own; one may stop the training (`model.stop_training`), which can be
            resumed then, as it can if one raises.

    Raises:
        UsageError: if the trainer has made more steps already.
        InputError: if no picture can be read any more.
        DivergedError: at a loss that is not finite.
        OutputError: if a file cannot be written, or `LOSSES` not be read.
        MemoryLimitError: if memory runs out.
        Interrupted: on Ctrl-C, after the state has been written.
    """
    start = trainer.step
    if steps < start:
        raise UsageError(f"{folder}: holds step {start}; `steps` should be at least that, not {steps}.")
    rows = [row for row in run_folder.read_losses(folder) if row["step"] <= start] if start else []
    state = TrainingState(folder, every=every, steps=steps, fixed=fixed, rows=rows)
    state.set_model(trainer)
    trainer.reset_metrics()
    trainer.stop_training = False
    if start:  # A crash between two files may have left losses of later steps, and an older network or none.
        run_folder.write_losses(folder, rows)
        serialization.save(trainer.network, folder / run_folder.NETWORK)
        state.saved_step = start
    try:
        for length, epochs in ((-start % every, start // every + 1), (every, steps)):  # An interrupted epoch goes on.
            if length and trainer.step < steps and not trainer.stop_training:
                trainer.fit(
                    batches_from(trainer.step),
                    initial_epoch=trainer.step // every,
                    epochs=epochs,  # `state` stops it before.
                    steps_per_epoch=length,
                    callbacks=[state, *callbacks],
                    shuffle=False,  # The dataset has its order.
                    verbose=0,
                )
    except KeyboardInterrupt:
        state.save()
        raise Interrupted(f"{folder}: holds step {trainer.step}; the same training with `resume` goes on.") from None
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryLimitError(
            f"memory ran out at step {trainer.step}; close other programs, or begin with a smaller `size` or `batch`."
        ) from error
    except Exception as error:
        cause = dataset.cause(error)
        if cause or not isinstance(error, (DivergedError, tf.errors.OpError)):
            with contextlib.suppress(Exception):  # A picture or a callback failed, between two steps: it is whole.
                state.save()
        if cause:
            raise cause from error
        raise
    if trainer.step != state.saved_step:
        state.save()
    if state.rows:
        run_folder.draw_curves(folder, state.rows)
