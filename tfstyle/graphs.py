"""Compiles functions of images once for all sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfstyle.environment import tf


def compile_once(function: Callable[..., Any], *specs: Any) -> Any:
    """Traces a function once, for tensors of the given specifications.

    Autograph is off: no branch depends on a tensor, and searching for one takes longer than tracing.
    """
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def any_size_specs(tensors: Any) -> Any:
    """Returns the specifications of nested tensors, where images may have any height and width."""

    def spec(tensor: tf.Tensor) -> tf.TensorSpec:
        shape = tensor.shape.as_list()
        return tf.TensorSpec([shape[0], None, None, shape[3]] if len(shape) == 4 else shape, tensor.dtype)

    return tf.nest.map_structure(spec, tensors)


def common_specs(first: Any, second: Any) -> Any:
    """Returns the specifications that the tensors of two nested specifications of one structure fulfill."""

    def common(one: tf.TensorSpec, other: tf.TensorSpec) -> tf.TensorSpec:
        sides = zip(one.shape.as_list(), other.shape.as_list(), strict=True)
        return tf.TensorSpec([side if side == another else None for side, another in sides], one.dtype)

    return tf.nest.map_structure(common, first, second)
