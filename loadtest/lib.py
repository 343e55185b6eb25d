"""What the scenarios share: options, what they are run against, the verdict and the report.

A scenario is a function that takes a `Test`, runs loads with it and says what must hold. Wrong answers and lost
connections need not be looked for: `load` counts them, and any of them fails the run. The exit status is 0 when all that
must hold did, 1 when something did not, 2 when the run itself could not be made.

load.py runs the generators, node.py the nodes and the watching, page.py draws.
"""

import argparse
import datetime
import ipaddress
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

import load
import node
import page

# What a node that is not on this machine is asked for unless --rate says otherwise, in requests a second.
FAR_RATE = 50
SECONDS_MAX = 7 * 24 * 3600
# A node's own pool towards its providers may have grown in a storm.
LEFT_MAX = 64
LEFT_S = 10
# Calls that every chain of this kind answers, at the head and below it, small and middling.
MIX = [
    ("eth_blockNumber", []),
    ("eth_getBalance", ["0x00000000000000000000000000000000000000aa", "latest"]),
    ("eth_getBlockByNumber", ["latest", False]),
    ("eth_gasPrice", []),
    ("eth_chainId", []),
]

# Not one that the node answers by itself: the way to a provider belongs to it.
PROBE = ("eth_gasPrice", [])


class Test:
    """One run of a scenario."""

    def __init__(self, name, title, options):
        self.name, self.title, self.options = name, title, options
        self.seconds = options.seconds
        self.url, self.admin, self.pid = options.url, options.admin, options.pid
        self.headers = [tuple(part.strip() for part in text.split(":", 1)) for text in options.header]
        self.token = os.environ.get("LOADTEST_ADMIN_TOKEN")
        self.own = []           # processes to end
        self.loads, self.checks, self.notes, self.marks, self.charts, self.tables = [], [], [], [], [], []
        self.node_watch = self.tools = None

    @property
    def far(self):
        return self.options.url is not None and not loopback(self.options.url)

    def rate(self, default):
        """Requests a second: what is asked for, or the default, but little towards a machine that is not this one."""
        return self.options.rate or (FAR_RATE if self.far else default)

    def rate_or_free(self):
        """As `rate`, where the default is as fast as answers come (0)."""
        return self.options.rate or (FAR_RATE if self.far else 0)

    def connections(self, default):
        return self.options.connections or default

    def part(self, share):
        """So much of the time, in whole seconds, for wrk."""
        return load.whole(self.seconds * share)

    # What it runs against.

    def aim(self, config=None):
        """At the operator's node, or at a node of our own: the demo, or one with that config."""
        if self.url is None:
            own = node.Node(node.binary(self.options.binary), config)
            self.own.append(own)
            self.url, self.admin, self.pid = f"{own.base}/rpc/ethereum", own.admin, own.pid
        self.tools = load.Tools(self.url, self.headers)

    def aim_before(self, *providers, block_s=12):
        """As `aim`, but a node of our own has such providers, (name, delay in ms); they are answered by name."""
        if self.url is not None:
            self.aim()
            return {}
        started = {}
        for name, delay_ms in providers:
            started[name] = node.Provider(name, delay_ms, block_s)
            self.own.append(started[name])
        with tempfile.NamedTemporaryFile("w", suffix=".toml", prefix="loadtest-") as file:
            file.write(node.config(started.values()))
            file.flush()
            self.aim(file.name)
        return started

    def watch(self, call=PROBE, probes_per_second=None):
        per_second = probes_per_second or (2 if self.far else 20)
        self.node_watch = node.Watch(self.url, self.headers, call, self.pid, self.admin, self.token, per_second)
        time.sleep(0.3)  # some probes before any load, to compare with

    def end(self):
        if self.tools:
            self.tools.end()
        if self.node_watch:
            self.node_watch.stop()
        for own in reversed(self.own):
            own.end()

    # What it does.

    def run(self, *arguments, **named):
        return self.keep(self.tools.wrk(*arguments, **named))

    def keep(self, found):
        """Takes a load into the report, and its failures into the verdict."""
        self.loads.append(found)
        if found.generator_busy > 0.9 * min(os.cpu_count() or 1, 8) / 2:
            busy = page.number(found.generator_busy)
            self.note(f"{found.label}: {found.tool} used {busy} cores and may have been the limit.")
        return found

    def constant(self, label, seconds, connections, bodies, rate):
        found = self.keep(self.tools.start_constant(label, seconds, connections, bodies, rate).end())
        if not found.corrected:
            self.note(f"{label}: by wrk. Its latencies are not corrected for coordinated omission: a call that waited for the "
                      "one before it is measured from when it was sent, not from when it was due. oha's are; the probes' are.")
        return found

    def mark(self, text):
        """An event, in the charts over time."""
        self.marks.append((time.monotonic(), text))
        print(f"  {text}", flush=True)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def check(self, what, holds, found):
        self.checks.append((what, bool(holds), found))

    # What it found.

    def check_answers(self):
        for found in self.loads:
            if found.failed or not found.calls:
                errors = ", ".join(f"{kind}: {count}" for kind, count in found.errors.items())
                text = "; ".join(part for part in (f"{found.wrong} wrong", errors, found.first) if part)
                self.check(f"{found.label}: every answer right", False, text if found.failed else "no answers")
        answers = sum(found.requests for found in self.loads)
        if all(not found.failed and found.calls for found in self.loads):
            self.check("every answer right, with a 200 over HTTP", True, f"{answers:,} answers, no socket error")
        probes = self.node_watch.probes
        wrong = [text for _, _, text in probes if text]
        if probes:
            self.check("every probe answered rightly", not wrong,
                       f"{len(wrong)} of {len(probes)} wrong; first: {wrong[0]}" if wrong else f"{len(probes)} probes")

    def load_table(self):
        head = ["load", "by", "requests", "req/s", "calls/s", "p50 ms", "p90", "p99", "p99.9", "max", "failed"]
        rows = [[found.label, found.tool, found.requests, found.per_second(), found.per_second(found.calls),
                 *(found.latency.get(p, 0.0) for p in (50, 90, 99, 99.9, "max")), found.failed]
                for found in self.loads]
        return head, rows

    def node_table(self):
        """The probes, and the node from outside and from its own metrics."""
        rows = []
        fine = [ms for _, ms, wrong in self.node_watch.probes if not wrong]
        if fine:
            found = load.percentiles(fine)
            rows.append(["probe latency p50, p99, max (ms)", ", ".join(page.number(found[p]) for p in (50, 99, "max"))])
        samples = [sample for _, sample in self.node_watch.samples if sample]
        if len(samples) > 1:
            first, last = samples[0], samples[-1]
            if "rss" in last:
                rows.append(["resident memory first, highest, last (MiB)", spread(samples, "rss")])
                rows.append(["descriptors first, highest, last", spread(samples, "descriptors")])
            if "cpu" in last:
                calls = sum(found.calls for found in self.loads) or 1
                what = "CPU time per call (µs), the demo's providers included" if self.demo else "CPU time per call (µs)"
                rows.append([what, page.number((last["cpu"] - first["cpu"]) * 1e6 / calls)])
            if "livechain_connections" in last:
                rows.append(["client connections first, highest, last", spread(samples, "livechain_connections")])
                rows.append(["failures that the node made itself", page.number(
                    last.get("livechain_failures_total", 0) - first.get("livechain_failures_total", 0))])
        return ["the node", ""], rows

    @property
    def demo(self):
        return any("demo" in own.child.args for own in self.own if isinstance(own, node.Node))

    @property
    def own_node(self):
        return any(isinstance(own, node.Node) for own in self.own)

    def started(self):
        return min([found.began for found in self.loads] + [when for when, _ in self.node_watch.samples[:1]])

    def time_charts(self):
        zero = self.started()
        marks = [(when - zero, text) for when, text in self.marks]
        answers = [(found.label, per_second(found.buckets, zero)) for found in self.loads]
        yield page.chart("Throughput over time", answers, "s", "requests answered a second", marks=marks)
        probes = {}
        for when, ms, _ in self.node_watch.probes:
            probes.setdefault(int((when - zero) * 2) / 2 + 0.25, []).append(ms)
        lines = [("median", [(x, sorted(ms)[len(ms) // 2]) for x, ms in sorted(probes.items())]),
                 ("slowest", [(x, max(ms)) for x, ms in sorted(probes.items())])]
        yield page.chart("Latency of a small call over time", lines, "s", "ms, by the probes, half-seconds", log_y=True,
                         marks=marks)
        for title, name, unit in (("Memory", "rss", "MiB resident"), ("Descriptors", "descriptors", "open"),
                                  ("Client connections", "livechain_connections", "open, by /metrics")):
            points = [(when - zero, sample[name]) for when, sample in self.node_watch.samples if name in sample]
            yield page.chart(title, [(name, points)], "s", unit, marks=marks)

    def percentile_chart(self):
        names = [50, 75, 90, 95, 99, 99.9, 99.99, "max"]
        series = [(found.label, [(index, found.latency[p]) for index, p in enumerate(names) if p in found.latency])
                  for found in self.loads if found.requests]
        labels = [(index, "max" if p == "max" else f"P{p}") for index, p in enumerate(names)]
        return page.chart("Latency by percentile", series, "", "ms", log_y=True, x_labels=labels)

    def report(self):
        """Prints, writes the page, and answers whether all was well."""
        self.check_answers()
        tables = [*self.tables, self.load_table(), self.node_table()]
        well = all(holds for _, holds, _ in self.checks)
        checks = [(what, "yes" if holds else "NO", found) for what, holds, found in self.checks]
        print()
        for head, rows in tables:
            print(page.text_table(head, rows), end="\n\n")
        for what, holds, found in checks:
            print(f"{'ok  ' if holds == 'yes' else 'FAIL'}  {what}: {found}")
        for note in self.notes:
            print(f"note  {note}")
        path = self.write(well, tables, checks)
        print(f"\n{self.name}: {'well' if well else 'FAILED'}; report: {os.path.relpath(path)}")
        return well

    def write(self, well, tables, checks):
        now = datetime.datetime.now()
        against = "the bundled demo" if self.demo else "a node of its own" if self.own_node else host(self.url)
        verdict = "All that must hold did." if well else '<span class="failed">Failed: see what must hold.</span>'
        parts = [f"<p>{page.html.escape(self.title)}</p>",
                 f'<p class="note">{now:%Y-%m-%d %H:%M:%S}, against {page.html.escape(against)}. {verdict}</p>']
        parts.append(page.html_table(["what must hold", "holds", "found"], checks, text=True))
        parts += [page.html_table(head, rows) for head, rows in tables]
        parts += [f'<p class="note">{page.html.escape(note)}</p>' for note in self.notes]
        parts += [*self.charts, self.percentile_chart(), *self.time_charts()]
        os.makedirs(self.options.reports, exist_ok=True)
        path = os.path.join(self.options.reports, f"{self.name}-{now:%Y%m%d-%H%M%S}.html")
        with open(path, "w", encoding="utf-8") as out:
            out.write(page.document(f"{self.name}: {against}", parts))
        return path


def check_left(test, before):
    """That nothing is left open of a storm of connections; `before` is the node as it was looked at before."""
    names = [name for name in ("descriptors", "livechain_connections") if name in before]
    if not names:
        test.note("Whether anything was left open was not looked at: give --pid or --admin.")
        return
    until = time.monotonic() + LEFT_S
    while True:
        after = test.node_watch.look()
        growth = {name: after.get(name, 0) - before[name] for name in names}
        if max(growth.values()) <= LEFT_MAX or time.monotonic() > until:
            break
        time.sleep(0.25)
    for name, count in growth.items():
        what = name.removeprefix("livechain_")
        test.check(f"at most {LEFT_MAX} {what} left open", count <= LEFT_MAX, page.number(count))


def check_streams(test, found, count):
    """That every subscriber was there from the beginning to the end, and heard what the others heard."""
    streams = found.sockets
    test.check("all subscribed", streams["subscribers"] == count, f"{streams['subscribers']} of {count}")
    test.check("none was closed", streams["alive"] == count, f"{streams['alive']} left in the end")
    test.check("each heard of heads", not streams["silent"], f"{streams['heads']} heads; {streams['silent']} heard of none")
    # Whoever was just being told of the last one when the time was over has the one before it.
    test.check("all ended at the same head, or the one before", streams["newest"] <= 2, f"{streams['newest']} different ones")
    told = streams["heads"] * count
    test.note(f"{found.requests:,} of {told:,} heads were heard: who subscribed later heard fewer.")


def spread(samples, name):
    values = [sample[name] for sample in samples if name in sample]
    return ", ".join(page.number(value) for value in (values[0], max(values), values[-1]))


def per_second(buckets, zero):
    """Answers a second, from tenths of it, over half-seconds; the first and the last are not whole and left out."""
    halves = {}
    for when, good, bad, _ in buckets:
        halves[int(when * 2)] = halves.get(int(when * 2), 0) + good + bad
    if len(halves) < 3:
        return [(key / 2 + 0.25 - zero, count * 2) for key, count in sorted(halves.items())]
    keys = range(min(halves) + 1, max(halves))
    return [(key / 2 + 0.25 - zero, halves.get(key, 0) * 2) for key in keys]


def host(url):
    """A URL without what may be a secret: user, path and query."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def loopback(url):
    name = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def descriptors_up():
    """As many descriptors as the system lets us have, for us and what we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def options(name, description, seconds, more):
    parser = argparse.ArgumentParser(
        prog=f"loadtest/{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="where calls are posted, path included (http://node:8545/rpc/ethereum); "
                                      "without it a node is started on loopback and ended again")
    parser.add_argument("--admin", help="that node's admin port (http://127.0.0.1:9545), for its metrics; "
                                        "a token in LOADTEST_ADMIN_TOKEN")
    parser.add_argument("--pid", type=int, help="that node's process, if on this machine: memory, descriptors, CPU time")
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE",
                        help="sent with every call; may be given again")
    parser.add_argument("--seconds", type=int, default=seconds, help=f"how long it loads, about (default {seconds})")
    parser.add_argument("--rate", type=int, help=f"requests a second; towards another machine {FAR_RATE} unless given")
    parser.add_argument("--connections", type=int, help="client connections, where the scenario has one number of them")
    parser.add_argument("--may-saturate", action="store_true",
                        help="allow a scenario without a rate towards another machine")
    parser.add_argument("--binary", help="the program to start when there is no --url (default: the newest in target/)")
    parser.add_argument("--reports", default=os.path.join(node.HERE, "reports"), help="where reports go")
    for flag, settings in more.items():
        parser.add_argument(flag, **settings)
    return parser


def parse(parser, saturates):
    given = parser.parse_args()
    if not 1 <= given.seconds <= SECONDS_MAX:
        parser.error("--seconds: 1 to a week")
    if any(value is not None and value < 1 for value in (given.rate, given.connections, given.pid)):
        parser.error("--rate, --connections and --pid are at least 1")
    if any(":" not in text or "\n" in text for text in given.header):
        parser.error("--header: NAME: VALUE")
    if given.url is None:
        if given.admin or given.pid:
            parser.error("--admin and --pid belong to --url")
        return given
    parts = urllib.parse.urlsplit(given.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path in ("", "/"):
        parser.error("--url: http or https, with the path that calls are posted to, such as /rpc/ethereum")
    if saturates and not loopback(given.url) and not given.may_saturate:
        parser.error(f"this loads {host(given.url)} as far as it goes: say --may-saturate if its owner agrees")
    return given


def main(name, description, scenario, seconds, tools=("wrk",), saturates=False, more=None):
    """Runs a scenario and leaves with its verdict."""
    given = parse(options(name, description, seconds, more or {}), saturates)
    # Ended from outside, what was started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    test = Test(name, description.strip().splitlines()[0], given)
    descriptors_up()
    try:
        load.need(*tools)
        print(f"{name}: {test.title}", flush=True)
        scenario(test)
        time.sleep(0.3)
        test.node_watch.stop()
        well = test.report()
    except (load.Missing, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"{name}: not run: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(2)
    finally:
        test.end()
    sys.exit(0 if well else 1)
