"""The steps of a run, as callbacks receive them, and the snapshots from which a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfstyle.divergence import Watched
from tfstyle.environment import tf
from tfstyle.iterate import RunState


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run needs to go on after a step, as if it had never stopped.

    Attributes:
        index: number of the step, from 1.
        level: number of its level, from 1.
        losses: as in `Step`.
        seconds: as in `Step`.
        begun: the image at the start of the level, sRGB, if the level's targets depend on it; None otherwise.
        state: the state after the step.
        watched: what the guard against divergence remembers.
    """

    index: int
    level: int
    losses: Mapping[str, float]
    seconds: float
    begun: tf.Tensor | None
    state: RunState
    watched: Watched


@dataclass(frozen=True)
class Step:
    """One step of a run, as callbacks receive it.

    Attributes:
        index: number of the step, from 1.
        total: number of steps in all.
        level, levels: number of this level of the pyramid, coarse to fine, from 1, and number of levels.
        image: float32 [1, height, width, 3] after the step; after the last one, with its colors finished if the recipe
            has a `palette`.
        losses: weighted loss terms before the step, as floats: "total", "content", "style", "neighbor",
            "total_variation", and "content/LAYER" and "style/LAYER" for each layer.
        seconds: seconds since the run began.
        progress: completed fraction of the run's work, where a step counts by the pixels of its level; 1 at the end.
        settings: what was chosen for this machine, as `transfer.Transfer.settings`.
        snapshot: from which the run can go on after this step; None in a step that no run made.
    """

    index: int
    total: int
    level: int
    levels: int
    image: tf.Tensor
    losses: Mapping[str, float]
    seconds: float
    progress: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)
    snapshot: Snapshot | None = None
