"""What a second shard costs: CPU time per request of two shards against one, at equal connections and rate per shard.

One shard is measured on the first core and on the second, since cores differ; two on both. Load and upstream run on
both cores in every case, at a rate that leaves them room. Also: the share of connections and of requests that each
shard got, from Livechain's metrics.
"""

import re
import statistics
import urllib.request

from .. import bench as benches
from .. import cells, load, servers

TITLE = "Two shards against one"
CONNECTIONS_PER_SHARD = 32
COUNTERS = ("connections_accepted", "requests")


def run(bench):
    options = bench.options
    both = f"{bench.on_proxy},{bench.on_load}"
    upstream = bench.up(servers.upstream(bench.directory(), both, workers=2))
    started = {}
    for name, on in (("first core", bench.on_proxy), ("second core", bench.on_load), ("both cores", both)):
        server = servers.livechain(options.livechain, bench.directory(), on, upstream.port, name)
        started[name] = bench.up(server)
    found = []
    for number, server in benches.turns(list(started.values()), options.rounds_latency):
        shards = 2 if server.name == "both cores" else 1
        cell = cells.unspoiled(lambda: measure(bench, server, upstream, both, shards))
        found.append({"round": number, **cell})
        bench.report(found[-1])
    for server in (*started.values(), upstream):
        bench.down(server)
    return {"cells": found, "summary": {"rate_per_shard": options.rate_per_shard,
                                        "connections_per_shard": CONNECTIONS_PER_SHARD, **summary(found)}}


def measure(bench, server, upstream, on, shards):
    options = bench.options
    connections, rate = shards * CONNECTIONS_PER_SHARD, shards * options.rate_per_shard
    load.warm(server, connections, on)
    before = counters(server)
    cell = cells.measure(
        bench, server, lambda: load.oha(server, connections, rate, options.seconds, on, threads=2), upstream)
    after = counters(server)
    for name in COUNTERS:
        cell[f"{name}_by_shard"] = [late - early for late, early in zip(after[name], before[name])]
    # Two cores are shared by all: fullness of one core says nothing here.
    if not cell["void"] and cell["achieved"] < cells.ACHIEVED_MIN:
        cell["void"] = f"{cell['achieved']:.1%} of the rate"
    return cell


def counters(server):
    """Counters of each shard, in the order of the shards."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = {}
    for name in COUNTERS:
        rows = re.findall(rf'^livechain_{name}_total\{{.*shard="(\d+)".*\}} (\d+)', text, re.M)
        found[name] = [int(count) for _, count in sorted(rows, key=lambda row: int(row[0]))]
        if not rows:
            raise RuntimeError(f"Livechain's metrics have no livechain_{name}_total by shard")
    return found


def summary(found):
    costs = {name: cells.median(cells.good(found, proxy=name), "cpu_us_per_request")
             for name in ("first core", "second core", "both cores")}
    ones = [costs[name] for name in ("first core", "second core") if costs[name] is not None]
    one = round(statistics.mean(ones), 3) if ones else None
    shares = {}
    for name in COUNTERS:
        rows = [cell[f"{name}_by_shard"] for cell in cells.good(found, proxy="both cores")]
        smaller = [min(row) / sum(row) for row in rows if sum(row)]
        shares[f"{name}_smaller_share"] = [round(share, 3) for share in smaller]
        sums = [sum(column) for column in zip(*rows)]
        shares[f"{name}_smaller_share_of_all"] = cells.ratio(min(sums), sum(sums)) if sums else None
    return {"cpu_us_per_request": costs, "one_shard": one, "two_shards": costs["both cores"],
            "two_over_one": cells.ratio(costs["both cores"], one), **shares}


def show(found):
    print(f"{found['rate_per_shard']} requests/s and {found['connections_per_shard']} connections per shard, medians:")
    for name, cost in found["cpu_us_per_request"].items():
        print(f"{name:14} {'void' if cost is None else f'{cost:.2f}'} CPU µs/request")
    print(f"two shards over one: {found['two_over_one']}")
    for name, what in zip(COUNTERS, ("connections", "requests")):
        print(f"smaller shard's share of {what}: {found[f'{name}_smaller_share_of_all']}, "
              f"each round: {found[f'{name}_smaller_share']}")
