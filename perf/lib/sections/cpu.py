"""CPU time per request, requests per second of one core, and memory: as many calls as are answered, by wrk.

CPU time per request is the figure. A proxy that shares a machine with nothing else is rarely the bottleneck; what it
costs is what a fleet of them costs. Requests per second are one core's only where that core was full: else the load was
the limit, and the figure says nothing but "at least".
"""

import statistics

from .. import bench as benches
from .. import cells, load, machine

TITLE = "CPU time per request"


def run(bench):
    options = bench.options
    found = []
    for number, server in benches.turns(bench.proxies, options.rounds):
        for connections in options.connections:
            load.warm(server, connections, bench.on_load)
            cell = cells.unspoiled(lambda: cells.measure(
                bench, server, lambda: load.wrk(server, connections, options.seconds, bench.on_load)))
            found.append({"round": number, "connections": connections, **cell})
            bench.report(found[-1])
    memory = {server.name: {"start": server.rss_kib_start, "after_load": machine.rss_kib(server.pid)}
              for server in bench.proxies}
    by_width = {str(width): summary(found, [server.name for server in bench.proxies], width)
                for width in options.connections}
    bench.found["cpu"] = by_width
    return {"cells": found, "summary": {"by_connections": by_width, "rss_kib": memory}}


def summary(found, names, connections):
    """Medians over the cells that count, and ratios to each other proxy."""
    rows = {}
    for name in names:
        mine = cells.good(found, proxy=name, connections=connections)
        if mine:
            costs = [cell["cpu_us_per_request"] for cell in mine]
            keys = ("requests_per_second", "proxy_core_busy", "load_core_busy", "p50_us", "p99_us")
            rows[name] = {
                "cpu_us_per_request": round(statistics.median(costs), 3),
                "cpu_us_min": min(costs),
                "cpu_us_max": max(costs),
                "cells": len(mine),
                **{key: cells.median(mine, key) for key in keys},
            }
            rows[name]["limited_by"] = "proxy" if rows[name]["proxy_core_busy"] >= cells.FULL else "load"
    for row in rows.values():
        for key, name in (("cpu_us_per_request", "cpu_over"), ("requests_per_second", "requests_over")):
            row[name] = {other: cells.ratio(row[key], rows[other][key]) for other in rows if rows[other] is not row}
    return rows


def show(found):
    for connections, rows in found["by_connections"].items():
        print(f"{connections} connections, medians:")
        print(f"{'':14} {'CPU µs/request':>15} {'(min – max)':>17} {'× HAProxy':>10} {'requests/s':>11} "
              f"{'core busy':>10}  limited by")
        for name, row in rows.items():
            spread = f"{row['cpu_us_min']:.2f} – {row['cpu_us_max']:.2f}"
            print(f"{name:14} {row['cpu_us_per_request']:15.2f} {spread:>17} {row['cpu_over'].get('haproxy', ''):>10} "
                  f"{row['requests_per_second']:11.0f} {row['proxy_core_busy']:10.0%}  {row['limited_by']}")
        if "livechain" in rows:
            show_ratios(rows)
    print(f"\n{'RSS, MiB':14} {'at start':>15} {'after the load':>17}")
    for name, memory in found["rss_kib"].items():
        print(f"{name:14} {memory['start'] / 1024:15.1f} {memory['after_load'] / 1024:17.1f}")


def show_ratios(rows):
    ours = rows["livechain"]
    print("livechain's CPU time over that of: " + ", ".join(f"{name} {ratio}" for name, ratio in ours["cpu_over"].items()))
    limited = {name for name, row in rows.items() if "load" in (row["limited_by"], ours["limited_by"])}
    ratios = (f"{name} {ratio}{'*' if name in limited else ''}" for name, ratio in ours["requests_over"].items())
    print("livechain's requests/s over that of: " + ", ".join(ratios) + (" (*: limited by load)" if limited else ""))
