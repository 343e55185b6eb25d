"""What a proxy adds to latency at a constant rate that does not fill it: half of what HAProxy can do, by oha.

The same rate for all, for the direct path too: what is added is the difference to the direct path of the same round.
oha measures each call from when it was due, so a stall counts for all that waited in it.

The generator shares a core with the upstream. A full core there would measure itself, so the rate is lowered, by steps
that the result tells, until it is not.
"""

from .. import bench as benches
from .. import cells, load

TITLE = "Latency at a constant rate"
CONNECTIONS = 64
SHARE = 0.5
# What is tried of the rate that is asked for, until the generator's core has room.
STEPS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)
# Above this share of its core the generator queues often enough to be seen in a P99.
LOAD_BUSY_MAX = 0.85
PERCENTILES = ("p50_us", "p99_us", "p99.9_us")


def run(bench):
    options = bench.options
    capacity = capacity_of_haproxy(bench)
    asked = options.rate or round(SHARE * capacity)
    rate = asked if options.rate else bearable(bench, asked)
    found, behind = [], set()
    for number, server in benches.turns([bench.upstream, *bench.proxies], options.rounds_latency):
        # What cannot keep up once need not show it in every round: what it left queueing takes its time.
        if server.name in behind:
            continue
        cell = cells.unspoiled(lambda: measure(bench, server, rate, options.seconds))
        found.append({"round": number, "rate": rate, **cell})
        bench.report(found[-1])
        if found[-1]["beyond_capacity"]:
            behind.add(server.name)
    names = ["direct", *(server.name for server in bench.proxies)]
    return {"cells": found, "summary": {"rate": rate, "rate_asked": asked, "haproxy_capacity": capacity,
                                        "connections": CONNECTIONS, "rows": summary(found, names)}}


def measure(bench, server, rate, seconds):
    load.warm(server, CONNECTIONS, bench.on_load)
    return cells.below_rate(cells.measure(
        bench, server, lambda: load.oha(server, CONNECTIONS, rate, seconds, bench.on_load)))


def capacity_of_haproxy(bench):
    """Requests per second: from the section before this one, or measured now."""
    row = bench.found.get("cpu", {}).get(str(CONNECTIONS), {}).get("haproxy")
    if row:
        return row["requests_per_second"]
    server = bench.named("haproxy")
    if server is None:
        return 0
    cell = cells.unspoiled(lambda: cells.measure(
        bench, server, lambda: load.wrk(server, CONNECTIONS, 3, bench.on_load)))
    return cell["requests_per_second"]


def bearable(bench, asked):
    """The rate at which the generator's core has room, through HAProxy."""
    for step in STEPS[:-1]:
        cell = cells.unspoiled(lambda: measure(bench, bench.named("haproxy"), round(step * asked), 2))
        bench.report({"trying": round(step * asked), **cell})
        if cell.get("achieved", 0) >= cells.ACHIEVED_MIN and cell["load_core_busy"] <= LOAD_BUSY_MAX:
            return round(step * asked)
    return round(STEPS[-1] * asked)


def summary(found, names):
    direct = {cell["round"]: cell for cell in cells.good(found, proxy="direct")}
    rows = {}
    for name in names:
        mine = cells.good(found, proxy=name)
        kept = [cell for cell in mine if not cell["beyond_capacity"]]
        row = {"cells": len(kept), "beyond_capacity": len(mine) - len(kept)}
        for percentile in PERCENTILES:
            row[percentile] = cells.median(kept, percentile, 1)
            added = [{"added": cell[percentile] - direct[cell["round"]][percentile]} for cell in kept
                     if cell["round"] in direct]
            row[f"added_{percentile}"] = cells.median(added, "added", 1)
            row[f"added_{percentile}_min"] = min((one["added"] for one in added), default=None)
            row[f"added_{percentile}_max"] = max((one["added"] for one in added), default=None)
        rows[name] = row
    return rows


def show(found):
    if found["rate"] != found["rate_asked"]:
        print(f"limited by load: {found['rate_asked']} requests/s were asked for")
    print(f"{found['rate']} requests/s, {found['connections']} connections; medians, and what is added to the direct path:")
    print(f"{'':14} {'P50 µs':>9} {'P99 µs':>9} {'P99.9 µs':>9} {'+P50':>8} {'+P99':>8} {'+P99.9':>8}")
    for name, row in found["rows"].items():
        if not row["cells"]:
            print(f"{name:14} {'cannot keep up with this rate' if row['beyond_capacity'] else 'void'}")
            continue
        absolute = " ".join(f"{row[p]:9.0f}" for p in PERCENTILES)
        added = " ".join(f"{'' if row[f'added_{p}'] is None else round(row[f'added_{p}']):>8}" for p in PERCENTILES)
        print(f"{name:14} {absolute} {added}")
