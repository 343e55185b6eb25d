"""What the kernel tells of processes and of the machine: CPU time, memory, and what the machine is.

CPU time is user and system time of all threads of a process and of those below it. Time in interrupts that the kernel
books on nobody is in no figure here, for anyone.
"""

import os
import pathlib
import re

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def process_tree(pid):
    """The process and all below it: nginx has a master and a worker."""
    found = [pid]
    for one in found:
        for children in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(pid):
    """User and system time of a process and its children so far."""
    ticks = 0
    for one in process_tree(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def own_cpu_seconds():
    """Of this program and of the load generators that it has run and waited for."""
    return sum(os.times()[:4])


def machine_cpu_seconds():
    """Time that all processes together used. Interrupts are left out."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return sum(int(field) for field in fields[:3]) / TICKS_PER_SECOND


def stolen_seconds():
    """Time in which the machine wanted to run and its host ran something else. Zero on bare metal."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return int(fields[7]) / TICKS_PER_SECOND


def rss_kib(pid):
    """Resident memory of a process and its children. Pages that they share are counted in each."""
    total = 0
    for one in process_tree(pid):
        found = re.search(r"VmRSS:\s*(\d+)", pathlib.Path(f"/proc/{one}/status").read_text())
        total += int(found[1]) if found else 0
    return total


def describe():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else os.uname().machine,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "kernel": os.uname().release,
    }
