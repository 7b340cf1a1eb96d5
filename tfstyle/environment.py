"""Imports TensorFlow and Keras after a check, and finds out what suits the processor and whether a run fits in memory.

This is the only module that imports TensorFlow. Others write `from tfstyle.environment import keras, tf`, so that
Keras with another backend is refused here with a one-line error. The import changes no policy, log level or device
setting.
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

from tfstyle.errors import SetupError
from tfstyle.machine import available_memory, read_processor_flags

__all__ = [
    "bfloat16_is_fast",
    "check_free_memory",
    "dtype_policy",
    "free_memory",
    "grow_gpu_memory",
    "has_gpu",
    "keras",
    "record_memory",
    "require_channels_last",
    "resolve_settings",
    "should_flip_kernels",
    "tf",
    "uses_onednn",
]

_LEGACY_VALUES = ("1", "true", "yes")  # Of TF_USE_LEGACY_KERAS.


def _require_tensorflow_backend() -> None:
    """Raises SetupError if the settings would make `keras` anything but Keras 3 on TensorFlow."""
    for where, backend in (("KERAS_BACKEND", os.environ.get("KERAS_BACKEND")), _read_configured_backend()):
        if backend and backend != "tensorflow":
            raise SetupError(
                f"tfstyle runs on Keras' tensorflow backend, but {where} is {backend!r}; set KERAS_BACKEND=tensorflow."
            )
        if backend:
            break
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in _LEGACY_VALUES:
        raise SetupError("tfstyle needs Keras 3, but TF_USE_LEGACY_KERAS asks for Keras 2; unset TF_USE_LEGACY_KERAS.")


def _read_configured_backend() -> tuple[str, str | None]:
    """Reads the backend from Keras' configuration file; returns where it is set and its value, None if unset."""
    path = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    try:
        return f"the backend in {path}", json.loads(path.read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        return str(path), None


_require_tensorflow_backend()
_collecting = gc.isenabled()
gc.disable()  # Modules are no garbage, and searching them again and again takes a quarter of the import.
try:
    import tensorflow as tf
except ImportError as error:
    raise SetupError(f"TensorFlow cannot be imported ({error}); run pip install tensorflow.") from error
else:
    import keras  # It follows the check.
finally:
    if _collecting:
        gc.enable()


def require_channels_last() -> None:
    """Checks that Keras is configured for channels-last images.

    Raises:
        SetupError: if `keras.config.image_data_format()` is not "channels_last".
    """
    found = keras.config.image_data_format()
    if found != "channels_last":
        raise SetupError(
            f"tfstyle holds images as [batch, height, width, 3], but Keras is configured for {found}; "
            'call keras.config.set_image_data_format("channels_last").'
        )


def grow_gpu_memory() -> None:
    """Makes TensorFlow allocate GPU memory as needed, instead of all at once, unless a GPU is already in use."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            return  # TensorFlow already uses it; the setting of the calling program stays.


_ONEDNN_FLAGS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8"}
"""Instruction sets with any of which TensorFlow uses oneDNN by default."""
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert"}
"""Instruction sets with any of which convolutions in bfloat16 are fast."""


def bfloat16_is_fast() -> bool:
    """Whether convolutions are faster in bfloat16 than in float32 on this machine, judged by the processor's flags.

    False with a GPU, where TensorFlow computes float32 convolutions in TF32 by default.
    """
    return uses_onednn() and bool(_BFLOAT16_FLAGS & read_processor_flags()) and not has_gpu()


def dtype_policy(precision: str) -> str:
    """Returns Keras' dtype policy for a precision: "float32", "bfloat16", or "auto": bfloat16 where it is faster."""
    fast = precision == "bfloat16" or (precision == "auto" and bfloat16_is_fast())
    return "mixed_bfloat16" if fast else "float32"


def should_flip_kernels(setting: str = "auto") -> bool:
    """Whether gradients of convolutions should be computed as convolutions with flipped kernels.

    Without oneDNN, TensorFlow's own gradient on a processor unfolds the image, which takes nine times its memory.

    Args:
        setting: "on", "off", or "auto": on for an x86 processor without oneDNN.
    """
    if setting != "auto":
        return setting == "on"
    return bool(read_processor_flags()) and not uses_onednn() and not has_gpu()


def uses_onednn() -> bool:
    """Whether TensorFlow uses oneDNN: by TF_ENABLE_ONEDNN_OPTS if it is set, otherwise by the processor's flags."""
    asked = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower()
    if asked in ("0", "false", "1", "true"):
        return asked in ("1", "true")
    return bool(_ONEDNN_FLAGS & read_processor_flags())


def resolve_settings() -> dict[str, bool]:
    """Resolves the "auto" settings for this machine, so that another machine can be set to the same arithmetic.

    Returns:
        Name of a setting → its value.
    """
    return {"oneDNN": uses_onednn(), "bfloat16": bfloat16_is_fast(), "flip_kernels": should_flip_kernels()}


def has_gpu() -> bool:
    """Whether TensorFlow finds a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


_reusable = 0
"""Largest estimate of a finished run, in bytes: TensorFlow keeps that memory and uses it again."""


def free_memory() -> int | None:
    """Returns the main memory that a run can take, in bytes, including what finished runs of this process can reuse.

    None if it is not known, or if a GPU computes: TensorFlow reports a lack of GPU memory.
    """
    free = available_memory()
    return None if free is None or has_gpu() else free + _reusable


def check_free_memory(needed: int) -> int | None:
    """Checks that a run fits in main memory. With a GPU nothing is checked: TensorFlow reports a lack of GPU memory.

    Args:
        needed: estimated peak of the run, in bytes.

    Returns:
        None if it fits; otherwise the free memory in bytes, including what finished runs of this process can reuse.
    """
    free = free_memory()
    return None if free is None or needed <= free else free


def record_memory(needed: int) -> None:
    """Records the estimate of a finished run, in bytes: the next run can use its memory again."""
    global _reusable
    _reusable = max(_reusable, needed)
