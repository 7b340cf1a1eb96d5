"""Runs a training in its folder: the part that all kinds of training share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
        mirrored: data-parallel training on all devices (`tf.distribute.MirroredStrategy`).
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
    mirrored: bool = False
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def __post_init__(self) -> None:
        """Checks the folder."""
        object.__setattr__(self, "folder", Path(self.folder))
        run_folder.check(self.folder, resume=self.resume, overwrite=self.overwrite)

    def strategy(self, batch: int) -> tf.distribute.Strategy:
        """Returns the distribution strategy: all devices if `mirrored`, otherwise the default strategy.

        Args:
            batch: the batch size, to be shared by the devices.

        Raises:
            UsageError: if the devices cannot share a batch evenly.
        """
        strategy = tf.distribute.MirroredStrategy() if self.mirrored else tf.distribute.get_strategy()
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
            DivergedError, InputError, Interrupted, MemoryLimitError, OutputError: as `trainer.fit`.
        """
        fixed = options.fixed() | fixed
        if self.resume:
            checkpoint.restore_state(trainer, self.folder / run_folder.STATE, fixed=fixed)
        else:
            run_folder.clear(self.folder)
        sheet = progress.SampleSheet(self.folder, stylize, self.samples, every=options.save_every)
        fit(
            trainer,
            batches_from,
            self.folder,
            steps=options.steps,
            every=options.save_every,
            fixed=fixed,
            callbacks=[*self.callbacks, sheet],
        )
        return self.folder / run_folder.NETWORK


def list_names(paths: Sequence[str | Path]) -> list[str]:
    """Returns the file names of pictures; a state holds no folders, which may be moved before a training is resumed."""
    return [Path(path).name for path in paths]
