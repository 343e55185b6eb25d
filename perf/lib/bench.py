"""What stands during a run: the upstream and every proxy, each on its core, all of them running all the time.

A proxy that is not being measured does nothing, and costs nothing that is counted. Rounds are interleaved and their
order turns: clock speed and neighbours drift over minutes, and must hit all alike.
"""

import json
import pathlib
import tempfile

from . import machine, servers

LIVECHAIN = {"livechain", "baseline", "livechain-spin"}


class Bench:
    def __init__(self, options):
        self.options = options
        self.on_proxy, self.on_load = str(options.proxy_core), str(options.load_core)
        self.scratch = tempfile.TemporaryDirectory(prefix="perf-")
        self.all, self.proxies = [], []
        self.upstream = None
        self.found = {}             # what later sections need of earlier ones

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.all:
            server.stop()
        self.scratch.cleanup()

    def directory(self):
        """One for each server: their files have the same names."""
        return pathlib.Path(tempfile.mkdtemp(dir=self.scratch.name))

    def up(self, server):
        # In the list first: what does not answer is stopped too.
        self.all.append(server)
        server.wait()
        server.rss_kib_start = machine.rss_kib(server.pid)
        return server

    def down(self, server):
        self.all.remove(server)
        server.stop()

    def start(self, names):
        self.upstream = self.up(servers.upstream(self.directory(), self.on_load))
        self.proxies = [self.up(self.proxy(name)) for name in names]

    def proxy(self, name, spin_us=0):
        if name in LIVECHAIN:
            binary = self.options.baseline if name == "baseline" else self.options.livechain
            return servers.livechain(binary, self.directory(), self.on_proxy, self.upstream.port, name, spin_us=spin_us)
        return servers.peer(name, self.directory(), self.on_proxy, self.upstream.port)

    def report(self, cell):
        """A cell as it comes, for those who wait."""
        print(json.dumps(cell, ensure_ascii=False), flush=True)

    def named(self, name):
        return next((server for server in self.proxies if server.name == name), None)


def turns(items, rounds):
    """Each of the items once a round, with the round's number; none is always first."""
    for number in range(rounds):
        turn = number % len(items)
        for item in items[turn:] + items[:turn]:
            yield number, item
