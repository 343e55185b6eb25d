"""One measured load, a cell: the clocks around it, and what makes it void.

Void cells are kept in the result and left out of every summary, and they fail the run.
"""

import statistics
import time

from . import machine

# From here on a core counts as full: what is left is the kernel's own, and the rounding of its clock.
FULL = 0.95
# Less than this of an asked rate is another load than the one that was asked.
ACHIEVED_MIN = 0.99
# What a host may take from its guest, in cores: what it takes cools caches, and waits in every latency.
STOLEN_MAX = 0.04
# How often a cell that the machine spoiled is measured again. It comes in waves of some seconds.
AGAIN_MAX = 12


class Clocks:
    """CPU seconds of the proxy, of the load with the upstream, and of the whole machine."""

    def __init__(self, server, upstream):
        self.at = time.monotonic()
        self.proxy = machine.cpu_seconds(server.pid) if server is not upstream else 0.0
        self.load = machine.cpu_seconds(upstream.pid) + machine.own_cpu_seconds()
        self.machine = machine.machine_cpu_seconds()
        self.stolen = machine.stolen_seconds()


def measure(bench, server, run, upstream=None):
    """A cell: `run` makes the load. Where the upstream itself is the server, there is no proxy between."""
    upstream = upstream or bench.upstream
    before = Clocks(server, upstream)
    load = run()
    after = Clocks(server, upstream)
    took = after.at - before.at
    proxy, generator = after.proxy - before.proxy, after.load - before.load
    others = max(0.0, after.machine - before.machine - proxy - generator) / took
    stolen = (after.stolen - before.stolen) / took
    cell = {
        "proxy": "direct" if server is upstream else server.name,
        "requests": load.requests,
        "requests_per_second": round(load.requests / took),
        "cpu_us_per_request": round(proxy * 1e6 / load.requests, 3) if load.requests else None,
        "proxy_core_busy": round(proxy / took, 3),
        "load_core_busy": round(generator / took, 3),
        "others_cores_busy": round(others, 3),
        "stolen_cores": round(stolen, 3),
        **{f"{p}_us": value for p, value in load.latency_us.items()},
    }
    if load.achieved is not None:
        cell["achieved"] = load.achieved
    spoiled = spoiled_by(others, stolen, bench.options.others_max)
    return cell | {"spoiled": bool(spoiled), "void": load.wrong or spoiled}


def spoiled_by(others, stolen, others_max):
    if others > others_max:
        return f"other programs used {others:.2f} of a core"
    return f"the host took {stolen:.2f} of a core" if stolen > STOLEN_MAX else None


def unspoiled(measure_once):
    """A cell that the machine has not spoiled, if one can be had; the cell tells how many were thrown away for it.

    What a proxy does wrong is not measured again.
    """
    for count in range(AGAIN_MAX + 1):
        cell = measure_once() | {"spoiled_before": count}
        if not cell["spoiled"]:
            break
    return cell


def below_rate(cell):
    """For loads at a constant rate: a proxy that cannot keep up is a finding, a generator that cannot is void.

    Nothing is known of the latency at that rate in either case.
    """
    cell["beyond_capacity"] = False
    if cell["void"] or cell["achieved"] >= ACHIEVED_MIN and cell["load_core_busy"] < FULL:
        return cell
    if cell["achieved"] < ACHIEVED_MIN and cell["proxy_core_busy"] >= FULL - 0.05:
        cell["beyond_capacity"] = True
    elif cell["achieved"] < ACHIEVED_MIN:
        cell["void"] = f"{cell['achieved']:.1%} of the rate"
    else:
        cell["void"] = f"the load generator's core was full ({cell['load_core_busy']:.0%})"
    return cell


def good(cells, **wanted):
    return [cell for cell in cells if not cell["void"] and all(cell[key] == value for key, value in wanted.items())]


def median(cells, key, digits=3):
    values = [cell[key] for cell in cells if cell.get(key) is not None]
    return round(statistics.median(values), digits) if values else None


def ratio(value, other):
    return round(value / other, 3) if value is not None and other else None
