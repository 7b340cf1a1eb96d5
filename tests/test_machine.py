"""The processor's instruction sets and free memory, in made-up folders of kernel files."""

from pathlib import Path

import pytest

from tfstyle import machine


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\nprocessor\t: 1\n",
            {"flags", ":", "fpu", "avx2", "avx512_bf16"},
        ),
        ("processor\t: 0\nmodel name: none\n", set()),
        (None, set()),
    ],
)
def test_instruction_sets_are_read_from_the_first_processors_flags(text, expected, tmp_path):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert machine.read_processor_flags(tmp_path / "cpuinfo") == expected


def write(root, files):
    """Writes text files below a folder."""
    for name, text in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal: 16000 kB\nMemFree: 100 kB\nMemAvailable: 8000 kB\n"}


def test_free_memory_of_a_plain_machine(tmp_path):
    write(tmp_path, MEMINFO)
    assert machine.available_memory(tmp_path) == 8000 * 1024


def test_free_memory_in_a_container_of_either_version(tmp_path):
    version2 = {"memory.max": "5000000", "memory.current": "3000000", "memory.stat": "anon 7\ninactive_file 500000\n"}
    write(tmp_path / "two", MEMINFO | {f"sys/fs/cgroup/{name}": text for name, text in version2.items()})
    assert machine.available_memory(tmp_path / "two") == 2500000
    version1 = {
        "memory.limit_in_bytes": "4000000",
        "memory.usage_in_bytes": "3900000",
        "memory.stat": "total_inactive_file 0\n",
    }
    write(tmp_path / "one", MEMINFO | {f"sys/fs/cgroup/memory/{name}": text for name, text in version1.items()})
    assert machine.available_memory(tmp_path / "one") == 100000


def test_a_container_without_limit_has_the_machines_memory(tmp_path):
    write(tmp_path, MEMINFO | {"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "3000000"})
    assert machine.available_memory(tmp_path) == 8000 * 1024


GROUP = {"memory.max": "5000000", "memory.current": "3000000", "memory.stat": "anon 7\ninactive_file 500000\n"}


def group(folder, **changes):
    """Files of a control group of version 2, of which 2.5 MB are free."""
    return {f"sys/fs/cgroup{folder}/{name}": text for name, text in (GROUP | changes).items()}


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ({}, {"memory.max": "max"}, 2500000),
        ({"memory.max": "max"}, {}, 2500000),
        ({"memory.current": "4000000"}, {}, 1500000),
        ({}, {"memory.current": "6000000"}, 0),
    ],
)
def test_free_memory_in_nested_groups_of_version_2(inner, outer, expected, tmp_path):
    """The group at the root has no limit, as on a machine with systemd."""
    write(tmp_path, MEMINFO | {"proc/self/cgroup": "0::/batch.slice/job-7.scope\n"})
    write(tmp_path, group("/batch.slice", **outer) | group("/batch.slice/job-7.scope", **inner))
    assert machine.available_memory(tmp_path) == expected


def test_free_memory_in_nested_groups_of_version_1(tmp_path):
    write(tmp_path, MEMINFO | {"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/slurm/job_1/step_0\n0::/\n"})
    folders = {"": "9223372036854771712", "/slurm": "9223372036854771712", "/slurm/job_1": "4000000"}
    for folder, limit in folders.items():
        files = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": "3900000"}
        write(tmp_path, {f"sys/fs/cgroup/memory{folder}/{name}": text for name, text in files.items()})
    assert machine.available_memory(tmp_path) == 100000


def test_a_group_of_the_host_seen_from_a_container_is_its_root(tmp_path):
    """The path is that of the host: its folder does not exist here, and the root is the container's own group."""
    write(tmp_path, MEMINFO | {"proc/self/cgroup": "0::/docker/0123abcd\n"} | group(""))
    assert machine.available_memory(tmp_path) == 2500000


def limits(space="unlimited", data="unlimited"):
    """The text of /proc/self/limits."""
    head = "Limit                     Soft Limit           Hard Limit           Units     \n"
    rows = {"Max cpu time": "1", "Max data size": data, "Max stack size": "8388608", "Max address space": space}
    return head + "".join(f"{name:<26}{value:<21}{'unlimited':<21}bytes     \n" for name, value in rows.items())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 8000 * 1024),
        ({"space": 5000 * 1024}, 1500 * 1024),
        ({"data": 5000 * 1024}, 2000 * 1024),
        ({"space": 5000 * 1024, "data": 1200 * 1024}, 100 * 1024),
        ({"space": 1000 * 1024}, 0),
        ({"space": 50000 * 1024}, 8000 * 1024),
    ],
)
def test_free_memory_under_limits_of_the_process(options, expected, tmp_path):
    """Half of what the limit leaves: TensorFlow maps about twice what it uses."""
    status = "Name:\tpython\nVmPeak:\t    9000 kB\nVmSize:\t    2000 kB\nVmData:\t    1000 kB\n"
    write(tmp_path, MEMINFO | {"proc/self/limits": limits(**options), "proc/self/status": status})
    assert machine.available_memory(tmp_path) == expected


def test_the_limit_of_this_process_is_seen():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = machine._find_number("VmSize:", machine._read_lines(Path("/proc/self/status")))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (mapped * 1024 + (1 << 30), before[1]))
        assert 1 << 28 < machine.available_memory() <= 1 << 29
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_memory_is_unknown_on_a_system_that_does_not_tell(tmp_path):
    assert machine.available_memory(tmp_path) is None
