"""Imports TensorFlow and Keras; tells what the processor is fast at and what memory is free.

The only module that imports TensorFlow: others write `from tfstyle.environment import keras, tf`, and a Keras of
another backend is refused here in one line. Importing this module changes no policy, log level or device setting.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfstyle.errors import SetupError

_LEGACY_VALUES = ("1", "true", "yes")


def _require_tensorflow_backend() -> None:
    """Refuses settings under which `keras` would not be Keras 3 on TensorFlow."""
    for where, backend in (("KERAS_BACKEND", os.environ.get("KERAS_BACKEND")), _configured_backend()):
        if backend and backend != "tensorflow":
            raise SetupError(
                f"tfstyle runs on Keras' tensorflow backend, but {where} is {backend!r}; set KERAS_BACKEND=tensorflow."
            )
        if backend:
            break
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in _LEGACY_VALUES:
        raise SetupError("tfstyle needs Keras 3, but TF_USE_LEGACY_KERAS asks for Keras 2; unset TF_USE_LEGACY_KERAS.")


def _configured_backend() -> tuple[str, str | None]:
    """What Keras' configuration file says, and its path."""
    path = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    try:
        return f"the backend in {path}", json.loads(path.read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        return str(path), None


def _import_frameworks() -> tuple[Any, Any]:
    """Imports TensorFlow and Keras, or says which of them is unusable."""
    _require_tensorflow_backend()
    try:
        import tensorflow
    except ImportError as error:
        raise SetupError(f"TensorFlow cannot be imported ({error}); run pip install tensorflow.") from error
    import keras as keras3

    return tensorflow, keras3


tf, keras = _import_frameworks()


def require_channels_last() -> None:
    """Refuses a Keras configured for channels-first images.

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
    """Lets TensorFlow take GPU memory as it needs it, where there is a GPU and it is not in use yet."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            return  # TensorFlow already runs on it, with whatever its owner chose.


_ONEDNN_FLAGS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8"}
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert"}


def bfloat16_is_fast() -> bool:
    """Says whether convolutions in bfloat16 are faster here than in float32: by the processor's flags.

    On a GPU TensorFlow uses TF32 unasked, and float32 stays.
    """
    return uses_onednn() and bool(_BFLOAT16_FLAGS & processor_flags()) and not has_gpu()


def should_flip_kernels(setting: str = "auto") -> bool:
    """Says whether gradients of convolutions are computed as convolutions with flipped kernels.

    Without oneDNN, TensorFlow's own gradient on a processor unfolds the image into nine times its memory.

    Args:
        setting: "on", "off", or "auto", which says yes on an x86 processor without oneDNN.
    """
    if setting != "auto":
        return setting == "on"
    return bool(processor_flags()) and not uses_onednn() and not has_gpu()


def uses_onednn() -> bool:
    """Says whether TensorFlow computes by oneDNN: as TF_ENABLE_ONEDNN_OPTS says, else by the processor's flags."""
    asked = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower()
    if asked in ("0", "false", "1", "true"):
        return asked in ("1", "true")
    return bool(_ONEDNN_FLAGS & processor_flags())


def settings() -> dict[str, bool]:
    """What "auto" stands for on this machine, for those who want equal arithmetic on another."""
    return {"oneDNN": uses_onednn(), "bfloat16": bfloat16_is_fast(), "flip_kernels": should_flip_kernels()}


def has_gpu() -> bool:
    """Says whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


@functools.cache
def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction sets that Linux names for an x86 processor; none on other systems."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


_reusable = 0
"""Largest estimate of a run that has ended, in bytes: TensorFlow keeps its memory and uses it again."""


def check_free_memory(needed: int) -> int | None:
    """Checks that main memory can hold a run; on a GPU TensorFlow reports it itself.

    Args:
        needed: the run's estimated peak, in bytes.

    Returns:
        None if it can; else the bytes that are free, with those that earlier runs of this process have left.
    """
    free = available_memory()
    if free is None or has_gpu() or needed <= free + _reusable:
        return None
    return free + _reusable


def record_memory(needed: int) -> None:
    """Notes the estimate of a run that has ended, whose memory serves the next one."""
    global _reusable
    _reusable = max(_reusable, needed)


def available_memory(root: Path = Path("/")) -> int | None:
    """Returns how many more bytes of main memory this process may take.

    The smallest of what the machine has free, what the process' control group and those around it (version 1 or 2)
    still allow, and what the process' own limits (`ulimit -v` and `-d`) leave.

    Args:
        root: where `proc` and `sys` lie; another folder in tests.

    Returns:
        Bytes, or None where the system does not say (not Linux).
    """
    limits = [_kernel_free(root), *_process_free(root), *_groups_free(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _read_lines(path: Path) -> list[str]:
    """The lines of a file of the kernel's; none where it is missing."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _number_after(label: str, lines: Iterable[str]) -> int | None:
    """The whole number after a label at the start of a line; None if there is no such line, or a word in its place."""
    for line in lines:
        if line.startswith(label):
            words = line[len(label) :].split()
            return int(words[0]) if words and words[0].isdecimal() else None
    return None


def _kernel_free(root: Path) -> int | None:
    """MemAvailable of /proc/meminfo, in bytes."""
    free = _number_after("MemAvailable:", _read_lines(root / "proc/meminfo"))
    return None if free is None else free * 1024


def _process_free(root: Path) -> Iterator[int]:
    """What the limits on address space and on data leave, each less what is mapped already.

    Half of it: with stacks and heaps of its threads TensorFlow maps about twice what it uses.
    """
    limits, status = _read_lines(root / "proc/self/limits"), _read_lines(root / "proc/self/status")
    for limit, used in (("Max address space", "VmSize:"), ("Max data size", "VmData:")):
        total, mapped = _number_after(limit, limits), _number_after(used, status)
        if total is not None and mapped is not None:
            yield max(total - mapped * 1024, 0) // 2


_GROUP_FILES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
}
"""Controllers in /proc/self/cgroup (version 2 names none) → folder, and files with limit, usage and file cache."""


def _groups_free(root: Path) -> Iterator[int]:
    """Limit less usage of the process' control group and of every group around it, file cache counted as free."""
    paths = dict.fromkeys(_GROUP_FILES, "/")
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths |= {name: path for name in controllers.split(",") if name in _GROUP_FILES}
    for name, (folder, limit, usage, cache) in _GROUP_FILES.items():
        inner = root / folder / paths[name].strip("/")
        for group in (inner, *inner.parents):
            total = _number_after("", _read_lines(group / limit))
            used = _number_after("", _read_lines(group / usage))
            if total is not None and used is not None:
                cached = _number_after(cache, _read_lines(group / "memory.stat")) or 0
                yield max(total - used + cached, 0)
