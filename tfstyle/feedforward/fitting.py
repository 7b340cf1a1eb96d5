"""Network, objective, batches → a trained network: one trainer style, its state, and what it shows on the way.

    trainer = Trainer(network, objective)
    trainer.compile(adam(...))
    fit(trainer, batches_from, folder, steps=4000, every=200, ...)

A `Trainer` is a Keras model: `trainer.fit(dataset, callbacks=[...])` works with every Keras callback as well. `fit`
adds what Keras has not: a state that goes on at a step as if nothing had happened.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tfstyle import files, images, objective, plots
from tfstyle.environment import keras, tf
from tfstyle.errors import DivergedError, Interrupted
from tfstyle.feedforward import checkpoint, saved
from tfstyle.feedforward.records import LOSSES, NETWORK, SHEETS, STATE, draw_curves

Objective = Callable[[keras.Model, Any], Mapping[str, tf.Tensor]]
"""(network, batch) → scalar terms; their sum (`objective.total`) is made small."""

_log = logging.getLogger("tfstyle")


class Trainer(keras.Model):
    """A network that is being trained.

    Args:
        network: a built model; only its weights are trained and saved.
        objective: what is made small.
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
        """Means over the epoch of the terms that are logged, and the step."""
        for name, mean in self.means.items():
            mean.update_state(terms[name])
        means = {name: mean.result() for name, mean in self.means.items()}
        return means | {"step": tf.cast(self.optimizer.iterations, tf.float32)}

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Writes the network, as `ModelCheckpoint` wants it, to a `.keras` file."""
        saved.in_float32(self.network).save(filepath, overwrite=overwrite, **kwargs)


def initialise(network: keras.Model, seed: int) -> None:
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
    """Writes the state and the network every few steps and at the end, and stops at the last step.

    Args:
        folder: where `STATE` and `NETWORK` go; it is there.
        every: steps between two states.
        steps: the last step.
        fixed: as for `checkpoint.save_state`.

    Raises:
        DivergedError: at a loss or a state that is not finite; the state before it is kept.
    """

    def __init__(self, folder: Path, *, every: int, steps: int, fixed: Mapping[str, Any]) -> None:
        super().__init__()
        self.folder, self.every, self.steps, self.fixed = Path(folder), every, steps, dict(fixed)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves if it is its turn."""
        step = self.model.step
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise DivergedError(f"the loss is not finite at step {step}; choose a smaller --learning-rate.")
        if step % self.every == 0 or step >= self.steps:
            self.save()
        if step >= self.steps:
            self.model.stop_training = True

    def save(self) -> None:
        """Saves now."""
        checkpoint.save_state(self.model, self.folder / STATE, fixed=self.fixed)
        saved.save(self.model.network, self.folder / NETWORK)


class SampleSheet(keras.callbacks.Callback):
    """Paints the same photographs every few steps, below themselves, into SHEETS/000200.jpg, …

    Args:
        folder: the training's; it is there.
        paint: image [1, height, width, 3] → its painting, of any size.
        photographs: such images.
        every: steps between two sheets; the first is made before the first step.
    """

    def __init__(
        self, folder: Path, paint: Callable[[tf.Tensor], Any], photographs: Sequence[Any], *, every: int
    ) -> None:
        super().__init__()
        self.folder, self.paint, self.photographs, self.every = Path(folder) / SHEETS, paint, photographs, every

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """The sheet of the untrained network."""
        if self.model.step == 0:
            self.write()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """A sheet if it is its turn."""
        if self.model.step % self.every == 0:
            self.write()

    def write(self) -> None:
        """Paints and writes now."""
        step = self.model.step
        pictures = [*self.photographs, *(self.paint(photograph) for photograph in self.photographs)]
        labels = ["photograph"] * len(self.photographs) + [f"step {step}"] * len(self.photographs)
        sheet = plots.grid(pictures, labels, columns=len(self.photographs))
        self.folder.mkdir(exist_ok=True)
        data = images.encode(sheet, "JPEG", quality=90)
        files.save_atomically(self.folder / f"{step:06d}.jpg", data, overwrite=True)


class Progress(keras.callbacks.Callback):
    """A progress bar with the losses, and a line of them in the log each epoch; no bar where there is no terminal.

    Args:
        steps: the last step.
        stream: where it is drawn; standard error if None.
    """

    def __init__(self, steps: int, stream: TextIO | None = None) -> None:
        super().__init__()
        self.steps, self.stream = steps, stream
        self.bar: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Draws the bar where the training stands."""
        from tqdm import tqdm

        done = self.model.step
        self.bar = tqdm(total=self.steps, initial=done, file=self.stream, disable=None, unit="step", dynamic_ncols=True)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Moves it."""
        shown = {name: f"{value:.3g}" for name, value in (logs or {}).items() if name != "step"}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(self.model.step - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs the means of the epoch."""
        shown = ", ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items() if name != "step")
        _log.info("step %d of %d: %s", self.model.step, self.steps, shown)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Leaves it as it stands."""
        self.bar.close()


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
        batches_from: step → an endless dataset that begins with that step's batch.
        folder: the training's, which is there; `STATE`, `NETWORK`, `LOSSES` and `CURVES` go into it.
        steps: the last step.
        every: steps of an epoch: from one state, and one line of `LOSSES`, to the next.
        fixed: as for `checkpoint.save_state`.
        callbacks: further ones, Keras' or your own.

    Raises:
        DivergedError: at a loss that is not finite.
        OutputError: if a file cannot be written.
        Interrupted: on Ctrl-C, after the state has been written.
    """
    start = trainer.step
    state = TrainingState(folder, every=every, steps=steps, fixed=fixed)
    records = keras.callbacks.CSVLogger(str(folder / LOSSES), append=start > 0)
    try:
        if start < steps:
            trainer.fit(
                batches_from(start),
                initial_epoch=start // every,
                epochs=steps,  # `state` stops it long before.
                steps_per_epoch=every,
                callbacks=[*callbacks, records, state],
                shuffle=False,  # The dataset has its order.
                verbose=0,
            )
    except KeyboardInterrupt:
        state.set_model(trainer)
        state.save()
        raise Interrupted(f"{folder}: holds step {trainer.step}; the same command with --resume goes on.") from None
    draw_curves(folder)
