"""Runs a training in its folder: the part that all kinds of training share."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfstyle.distribution import Devices
from tfstyle.environment import keras, tf
from tfstyle.errors import UsageError
from tfstyle.training import checkpoint, progress, run_folder
from tfstyle.training.options import TrainingOptions
from tfstyle.training.trainer import Trainer, fit


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder and the settings of a training.

    Args:
        folder: a new or empty folder, or that of an earlier training if `resume` or `overwrite`.
        samples: content images of the sample sheets, at least one, [1, height, width, 3] in [0, 1].
        resume: continue the training in the folder.
        overwrite: discard the training in the folder and start again.
        strategy: data-parallel training on the devices of a `tf.distribute.Strategy`, such as `MirroredStrategy`. Of
            several workers (`MultiWorkerMirroredStrategy`) the chief alone writes into the folder, which all of them
            can read. None is the strategy in scope.
        callbacks: Keras callbacks.

    Raises:
        OutputError: if the folder cannot be used (`run_folder.check`).
        UsageError: if both `resume` and `overwrite` are set.
    """

    folder: Path
    samples: Sequence[Any]
    _: dataclasses.KW_ONLY
    resume: bool = False
    overwrite: bool = False
    strategy: tf.distribute.Strategy | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def __post_init__(self) -> None:
        """Checks the folder."""
        object.__setattr__(self, "folder", Path(self.folder))
        run_folder.check(self.folder, resume=self.resume, overwrite=self.overwrite)

    def share(self, batch: int) -> tf.distribute.Strategy:
        """Returns the distribution strategy, whose devices share each batch.

        Args:
            batch: the batch size.

        Raises:
            UsageError: if the devices cannot share a batch evenly.
        """
        strategy = self.strategy or tf.distribute.get_strategy()
        count = strategy.num_replicas_in_sync
        if batch % count:
            raise UsageError(f"`batch` should be a multiple of the {count} devices that share it, not {batch}.")
        return strategy

    def fit(
        self,
        trainer: Trainer,
        batches_from: Callable[[int], tf.data.Dataset],
        options: TrainingOptions,
        *,
        fixed: dict[str, Any],
        stylize: Callable[[tf.Tensor], Any],
    ) -> Path:
        """Trains in the folder, after restoring its state if `resume`.

        Args:
            trainer: a compiled trainer.
            batches_from: a function of a step that returns an endless dataset beginning with that step's batch.
            options: hyperparameters.
            fixed: further values that must be the same when the training is resumed.
            stylize: a function that stylizes a content image [1, height, width, 3], for the sample sheets.

        Returns:
            The file of the network.

        Raises:
            UsageError, WeightsError: if the training cannot be resumed with these options.
            DivergedError, InputError, Interrupted, MemoryLimitError, OutputError, WorkerError: as `trainer.fit`.
        """
        fixed = options.fixed() | fixed
        with contextlib.ExitStack() as stack:
            folder = self.folder
            if self.resume:
                checkpoint.restore_state(trainer, folder / run_folder.STATE, fixed=fixed)
            if Devices(trainer.distribute_strategy).index:  # A worker that is not the chief keeps nothing.
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                if self.resume:
                    run_folder.write_losses(folder, run_folder.read_losses(self.folder))
            elif not self.resume:
                run_folder.clear(folder)
            sheet = progress.SampleSheet(folder, stylize, self.samples, every=options.save_every)
            fit(
                trainer,
                batches_from,
                folder,
                steps=options.steps,
                every=options.save_every,
                fixed=fixed,
                callbacks=[*self.callbacks, sheet],
            )
        return self.folder / run_folder.NETWORK


def list_names(paths: Sequence[str | Path]) -> list[str]:
    """Returns the file names of pictures; a state holds no folders, which may be moved before a training is resumed."""
    return [Path(path).name for path in paths]
