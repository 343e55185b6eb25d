"""Latency of one connection that waits for each answer, by wrk: what waking up costs.

Both ends sleep between any two messages, and so does the upstream. Livechain is measured twice, the second time with
`shards.spin_us`: a shard that looks a little longer before it sleeps is not asleep when the answer comes.
"""

from .. import bench as benches
from .. import cells, load

TITLE = "One connection"


def run(bench):
    options = bench.options
    spinning = bench.up(bench.proxy("livechain-spin", options.spin_us)) if bench.named("livechain") else None
    servers = [bench.upstream, *bench.proxies, *([spinning] if spinning else [])]
    found = []
    for number, server in benches.turns(servers, options.rounds_latency):
        load.warm(server, 1, bench.on_load)
        cell = cells.unspoiled(lambda: cells.measure(
            bench, server, lambda: load.wrk(server, 1, options.seconds_single, bench.on_load)))
        found.append({"round": number, **cell})
        bench.report(found[-1])
    names = ["direct" if server is bench.upstream else server.name for server in servers]
    if spinning:
        bench.down(spinning)
    return {"cells": found, "summary": {"spin_us": options.spin_us, "rows": summary(found, names)}}


def summary(found, names):
    rows = {}
    for name in names:
        mine = cells.good(found, proxy=name)
        keys = ("p50_us", "p99_us", "requests_per_second", "cpu_us_per_request")
        rows[name] = {"cells": len(mine), **{key: cells.median(mine, key) for key in keys}}
        if mine:
            rows[name]["mean_us"] = round(1e6 / rows[name]["requests_per_second"], 2)
    for row in rows.values():
        for other in ("haproxy", "direct"):
            row[f"p50_over_{other}"] = cells.ratio(row["p50_us"], (rows.get(other) or {}).get("p50_us"))
    return rows


def show(found):
    print("1 connection, medians:")
    print(f"{'':14} {'P50 µs':>9} {'P99 µs':>9} {'mean µs':>9} {'P50 × HAProxy':>14} {'CPU µs/request':>15}")
    for name, row in found["rows"].items():
        if row["cells"]:
            print(f"{name:14} {row['p50_us']:9.0f} {row['p99_us']:9.0f} {row['mean_us']:9.1f} "
                  f"{row['p50_over_haproxy'] or '':>14} {row['cpu_us_per_request']:15.2f}")
        else:
            print(f"{name:14} void")
    print(f"livechain-spin has shards.spin_us = {found['spin_us']}.")
