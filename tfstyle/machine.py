"""What the machine offers, as Linux reports it: the processor's instruction sets and free memory."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path


@functools.cache
def read_processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Reads the instruction sets of an x86 processor that Linux lists; empty on other systems and processors."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def available_memory(root: Path = Path("/")) -> int | None:
    """Computes how many more bytes of main memory this process can allocate.

    This is the smallest of three numbers: the free memory of the machine; what the control group of the process and the
    groups that contain it (version 1 or 2) still allow; and what the limits of the process (`ulimit -v`, `-d`) allow.

    Args:
        root: folder that contains `proc` and `sys`; another one in tests.

    Returns:
        Bytes, or None if the system does not report it (not Linux).
    """
    limits = [_read_machine_free(root), *_read_process_free(root), *_read_group_free(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _read_lines(path: Path) -> list[str]:
    """Reads the lines of a kernel file under /proc or /sys; empty if it is missing."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _find_number(label: str, lines: Iterable[str]) -> int | None:
    """Finds the whole number that follows a label at the start of a line; None if there is no such line or number."""
    for line in lines:
        if line.startswith(label):
            words = line[len(label) :].split()
            return int(words[0]) if words and words[0].isdecimal() else None
    return None


def _read_machine_free(root: Path) -> int | None:
    """Reads MemAvailable from /proc/meminfo, in bytes."""
    free = _find_number("MemAvailable:", _read_lines(root / "proc/meminfo"))
    return None if free is None else free * 1024


def _read_process_free(root: Path) -> Iterator[int]:
    """Yields half of the unused part of each memory limit of the process: address space and data size.

    Only half, because TensorFlow maps about twice the memory it uses, for the stacks and heaps of its threads.
    """
    limits, status = _read_lines(root / "proc/self/limits"), _read_lines(root / "proc/self/status")
    for limit, used in (("Max address space", "VmSize:"), ("Max data size", "VmData:")):
        total, mapped = _find_number(limit, limits), _find_number(used, status)
        if total is not None and mapped is not None:
            yield max(total - mapped * 1024, 0) // 2


_GROUP_FILES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
}
"""Controller in /proc/self/cgroup (empty in version 2) → folder, files of limit and usage, label of the file cache."""


def _read_group_free(root: Path) -> Iterator[int]:
    """Yields limit minus usage of the process' control group and of each group around it; file cache counts as free."""
    paths = dict.fromkeys(_GROUP_FILES, "/")
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths |= {name: path for name in controllers.split(",") if name in _GROUP_FILES}
    for name, (folder, limit, usage, cache) in _GROUP_FILES.items():
        inner = root / folder / paths[name].strip("/")
        for group in (inner, *inner.parents):
            total = _find_number("", _read_lines(group / limit))
            used = _find_number("", _read_lines(group / usage))
            if total is not None and used is not None:
                cached = _find_number(cache, _read_lines(group / "memory.stat")) or 0
                yield max(total - used + cached, 0)
