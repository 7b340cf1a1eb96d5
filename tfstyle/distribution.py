"""Divides the tiles of a large image among devices and machines, through `tf.distribute`.

The devices of one machine compute different tiles at the same time. Several machines run the same command; each
computes the tiles of its own rows, and what they exchange in a step are sums over these rows and the gradient.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfstyle.boxes import ALIGNMENT, split
from tfstyle.environment import grow_gpu_memory, tf
from tfstyle.errors import UsageError, WorkerError
from tfstyle.graphs import compile_once

LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)
"""What TensorFlow raises when another worker no longer answers."""

LOST_MESSAGE = (
    "another worker of TF_CONFIG no longer answers; start all of them again, with `resume` to go on from the last "
    "checkpoint."
)


class Devices:
    """The devices among which tiles are divided.

    Args:
        strategy: a `tf.distribute.MirroredStrategy` for the devices of this machine, or a
            `MultiWorkerMirroredStrategy` for those of several machines; None is one device.

    Attributes:
        count: number of devices of this machine.
        workers: number of machines, or of processes on them.
        index: number of this one; 0 is the chief, which writes results.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy
        self.workers, self.index = 1, 0
        resolver = getattr(strategy, "cluster_resolver", None)
        if resolver is not None:
            tasks = _list_tasks(resolver.cluster_spec().as_dict())
            if len(tasks) > 1:
                self.workers, self.index = len(tasks), tasks.index((resolver.task_type, resolver.task_id))
        self.count = strategy.num_replicas_in_sync // self.workers if strategy is not None else 1
        self._reducers: dict[tf.DType, Callable[[tf.Tensor], tf.Tensor]] = {}

    def compile(self, function: Callable[..., Any], *specs: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """Compiles a function of tensors, like `graphs.compile_once`.

        Returns:
            A function of a list, the arguments for at most `count` calls, that returns the list of their results. Each
            device computes one of them.
        """
        strategy, count = self._strategy, self.count
        if strategy is None or count == 1:
            graph = compile_once(function, *specs)
            return lambda each: [graph(*arguments) for arguments in each]

        def compute(*each: Any) -> Any:
            return strategy.experimental_local_results(strategy.run(lambda: function(*each[_number(count)])))

        shared = compile_once(compute, *[specs] * count)
        # Devices without a call of their own repeat the last one.
        return lambda each: shared(*each, *[each[-1]] * (count - len(each)))[: len(each)]

    def rows(self, height: int) -> tuple[int, int]:
        """Returns which rows of an image of a height are this worker's, as (start, stop).

        Raises:
            UsageError: if there are too few.
        """
        if height < self.workers * ALIGNMENT:
            raise UsageError(
                f"an image of {height} rows cannot be divided among {self.workers} workers; start fewer workers, or "
                f"choose a larger `size`."
            )
        return split((0, height), self.workers)[self.index]

    def sum(self, tensors: Any) -> Any:
        """Adds up nested tensors, or arrays, of all workers, in float32 or float64; each of them calls this.

        Raises:
            WorkerError: if another worker no longer answers.
        """
        if self.workers == 1:
            return tensors
        flat = [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(tensors)]
        dtype = tf.float64 if any(tensor.dtype == tf.float64 for tensor in flat) else tf.float32
        vector = tf.concat([tf.reshape(tf.cast(tensor, dtype), [-1]) for tensor in flat], axis=0)
        try:
            if dtype not in self._reducers:
                self._reducers[dtype] = _make_reducer(self._strategy, self.count, dtype)
            total = self._reducers[dtype](vector)
        except LOST as error:
            raise WorkerError(LOST_MESSAGE) from error
        parts = tf.split(total, [tensor.shape.num_elements() for tensor in flat])
        same = [tf.cast(tf.reshape(part, tensor.shape), tensor.dtype) for part, tensor in zip(parts, flat, strict=True)]
        return tf.nest.pack_sequence_as(tensors, same)

    def check_same(self, what: str, facts: Any) -> None:
        """Checks that all workers have the same facts, which `json` can write; each of them calls this.

        Args:
            what: what they are, in words.
            facts: nested values.

        Raises:
            UsageError: if a worker has others than the chief.
        """
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).digest()
        found = self.gather(int.from_bytes(digest[:6], "big"))  # Exact in float64.
        others = [number for number, of_worker in enumerate(found) if of_worker != found[0]]
        if others:
            raise UsageError(f"worker {others[0]} has another {what} than worker 0; start all with the same.")

    def gather(self, number: float) -> list[float]:
        """Returns the number that each worker gives; each of them calls this."""
        own = tf.one_hot(self.index, self.workers, dtype=tf.float64) * number
        return [float(each) for each in self.sum(own).numpy()]

    def agree(self, tensors: Any) -> Any:
        """Returns the chief's nested tensors, on all workers; each of them calls this."""
        return tensors if self.workers == 1 else self.sum(tensors if self.index == 0 else _nothing(tensors))


def _make_reducer(strategy: Any, count: int, dtype: tf.DType) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that adds up a vector of each worker; the first of its devices holds it."""

    def reduce(vector: tf.Tensor) -> Any:
        def add() -> Any:
            own = tf.identity(vector) if _number(count) == 0 else tf.zeros_like(vector)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)

        return strategy.experimental_local_results(strategy.run(add))[0]

    reducer: Callable[[tf.Tensor], tf.Tensor] = compile_once(reduce, tf.TensorSpec([None], dtype))
    return reducer


def _number(count: int) -> int:
    """Returns the number of the device, of those of this machine, that is being traced."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return int(tf.get_static_value(replica)) % count


def _nothing(tensors: Any) -> Any:
    return tf.nest.map_structure(tf.zeros_like, tensors)


@functools.cache
def find_devices(strategy: tf.distribute.Strategy | None = None) -> Devices:
    """Returns the devices of a strategy; without one, the GPUs of this machine if there are several, or one device."""
    if strategy is None:
        gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
        strategy = tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else None
    return Devices(strategy)


def join_workers() -> tf.distribute.MultiWorkerMirroredStrategy | None:
    """Waits for the workers that the environment variable `TF_CONFIG` names, and returns their strategy.

    Returns:
        None if it does not name several.

    Raises:
        UsageError: if it cannot be used.
    """
    if not count_workers():
        return None
    grow_gpu_memory()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UsageError(f"the workers of TF_CONFIG cannot be used: {str(error).splitlines()[0]}") from error


def is_chief() -> bool:
    """Returns whether this process is the first worker in `TF_CONFIG`, or the only one."""
    return not count_workers() or _worker_number(json.loads(os.environ["TF_CONFIG"])) == 0


def count_workers() -> int:
    """Returns the number of workers in the environment variable `TF_CONFIG`; 0 if there are not several.

    Raises:
        UsageError: if it is not as TensorFlow expects it.
    """
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        workers = len(_list_tasks(config.get("cluster", {})))
        if workers > 1:
            _worker_number(config)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            "TF_CONFIG should be JSON with the addresses of the workers and the type and index of this one's task "
            f"({type(error).__name__}: {error}); correct it, or unset it to run on one machine."
        ) from None
    return workers if workers > 1 else 0


def _list_tasks(cluster: Mapping[str, Sequence[str]]) -> list[tuple[str, int]]:
    """Returns the (type, index) of each worker of a cluster, the chief first."""
    return [(job, number) for job in ("chief", "worker") for number in range(len(cluster.get(job, ())))]


def _worker_number(config: Mapping[str, Any]) -> int:
    """Returns the number of this worker among those of its `TF_CONFIG`."""
    task = config["task"]
    return _list_tasks(config["cluster"]).index((task["type"], int(task["index"])))
