"""Runs the load generators and reads what they found: wrk, h2load, oha where it is installed, and sockets.py.

wrk looks at every answer (calls.lua), so it is the one for everything but two things: a constant rate, where oha measures
each call from the moment that it was due, and thousands of connections opened at once, which h2load is made for. Every
run is bounded in time: a tool that does not end by itself is ended.

Latencies are milliseconds, times are seconds of the monotonic clock.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

INSTALL = {
    "wrk": "apt-get install wrk",
    "h2load": "apt-get install nghttp2-client",
    "oha": "cargo install oha  (1.9 or later)",
}
# A call that took longer counts as failed: longer than any deadline of the node's but that of traces.
TIMEOUT_S = 20
# After its time is up a tool may wait for calls that are under way.
GRACE_S = TIMEOUT_S + 10
PERCENTILES = (50, 75, 90, 95, 99, 99.9, 99.99)


class Missing(Exception):
    """A tool that is needed is not installed."""


def need(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        lines = [f"{tool} is not installed: {INSTALL[tool]}" for tool in missing]
        raise Missing("\n".join(lines))


def oha():
    """Whether there is an oha whose output we can read."""
    if shutil.which("oha") is None:
        return False
    text = subprocess.run(["oha", "--help"], capture_output=True, text=True, timeout=10).stdout
    return "--output-format" in text and "--latency-correction" in text


def body(calls):
    """A call's or a batch's body; calls are (method, params). The ids are what calls.lua looks for."""
    items = [
        {"jsonrpc": "2.0", "id": f"lt-{len(calls)}-{index}", "method": method, "params": params}
        for index, (method, params) in enumerate(calls)
    ]
    return json.dumps(items if len(items) > 1 else items[0], separators=(",", ":"))


class Load:
    """What one run of a generator found."""

    def __init__(self, label, tool):
        self.label, self.tool = label, tool
        self.began = time.monotonic()
        self.seconds = 0.0
        self.requests = 0           # answered
        self.calls = 0              # answered rightly; a batch counts as its items
        self.wrong = 0              # answered, but not with a 200 and the right body
        self.errors = {}            # of sockets, by kind
        self.first = ""             # the first wrong answer
        self.bytes = 0
        self.latency = {}           # by percentile, and "max"
        self.buckets = []           # (time, answered rightly, wrongly, {provider: count}), a tenth of a second each
        self.generator_busy = 0.0   # cores that the generator used
        self.corrected = False      # for coordinated omission

    @property
    def failed(self):
        return self.wrong + sum(self.errors.values())

    def per_second(self, count=None):
        return (self.requests if count is None else count) / self.seconds if self.seconds else 0.0


class Tools:
    """The generators, aimed at one URL."""

    def __init__(self, url, headers):
        self.url, self.headers = url, headers
        self.scratch = tempfile.TemporaryDirectory(prefix="loadtest-")
        self.count = 0
        self.running = []

    def file(self, text):
        self.count += 1
        path = os.path.join(self.scratch.name, str(self.count))
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def end(self):
        """Ends what still runs: there is something only when the run was broken off."""
        for running in self.running:
            running.kill()
        self.scratch.cleanup()

    def start(self, *arguments):
        self.running.append(Running(*arguments))
        return self.running[-1]

    def start_wrk(self, label, seconds, connections, bodies, rate=0, close=False):
        """Starts wrk and answers what ends with its Load: for loads that run beside each other."""
        headers = [("Content-Type", "application/json"), *self.headers, *([("Connection", "close")] if close else [])]
        threads = min(connections, max(1, (os.cpu_count() or 1) // 2), 8)
        out = self.file("")
        environment = dict(
            os.environ,
            LOADTEST_BODIES=self.file("".join(f"{text}\n" for text in bodies)),
            LOADTEST_HEADERS=self.file("".join(f"{name}: {value}\n" for name, value in headers)),
            LOADTEST_RATE_PER_THREAD=str(rate / threads),
            LOADTEST_OUT=out,
        )
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calls.lua")
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{whole(seconds)}s", "--timeout", f"{TIMEOUT_S}s",
                   "-s", script, self.url]
        load = Load(label, "wrk")
        return self.start(load, command, whole(seconds), environment, lambda _: read_wrk(load, out))

    def wrk(self, *arguments, **named):
        return self.start_wrk(*arguments, **named).end()

    def start_constant(self, label, seconds, connections, bodies, rate):
        """A constant rate of calls: oha, or else wrk, which cannot correct for coordinated omission."""
        if len(bodies) > 1 or not oha():
            return self.start_wrk(label, seconds, connections, bodies, rate=rate)
        command = ["oha", "--no-tui", "--no-color", "--output-format", "json", "--latency-correction", "-w",
                   "-z", f"{whole(seconds)}s", "-c", str(connections), "-q", str(whole(rate)), "-t", f"{TIMEOUT_S}s",
                   "-m", "POST", "-T", "application/json", "-D", self.file(bodies[0]), *self.header_options(), self.url]
        load = Load(label, "oha")
        load.corrected = True
        return self.start(load, command, whole(seconds), None, lambda text: read_oha(load, text))

    def h2load(self, label, connections, requests, call, seconds):
        """`connections` opened as fast as they can be and held until all `requests` are answered."""
        log = self.file("")
        os.unlink(log)  # h2load wants to make it
        command = ["h2load", "--h1", f"-c{connections}", f"-n{requests}", "-t1", "-d", self.file(call),
                   f"--connection-active-timeout={whole(seconds) + TIMEOUT_S}s", f"--log-file={log}",
                   "-H", "Content-Type: application/json", *self.header_options(), self.url]
        load = Load(label, "h2load")
        return self.start(load, command, seconds, None, lambda _: read_h2load(load, log, requests)).end()

    def start_sockets(self, kind, label, count, seconds, *rate):
        """WebSocket clients: `storm` or `hold`, as sockets.py says."""
        environment = dict(os.environ, LOADTEST_HEADERS=self.file("".join(f"{n}: {v}\n" for n, v in self.headers)))
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sockets.py")
        command = [sys.executable, script, kind, self.url, str(count), str(seconds), *map(str, rate)]
        load = Load(label, "sockets")
        return self.start(load, command, seconds + TIMEOUT_S, environment, lambda text: read_sockets(load, text))

    def header_options(self):
        return [option for name, value in self.headers for option in ("-H", f"{name}: {value}")]


class Running:
    """A generator at work."""

    def __init__(self, load, command, seconds, environment, read):
        self.load, self.read, self.command = load, read, command
        self.deadline = time.monotonic() + seconds + GRACE_S
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT)

    def end(self):
        """Waits, and reads what was found. A generator that fails is a fault of the set-up, not a finding."""
        # wait4 and not wait: the rusage is this child's alone.
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > self.deadline:
                self.process.kill()
            time.sleep(0.02)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.output.seek(0)
        text = self.output.read()
        if self.process.returncode != 0:
            raise RuntimeError(f"{self.command[0]} failed ({self.process.returncode}): {text.strip()[-500:]}")
        self.load.seconds = time.monotonic() - self.load.began
        self.read(text)
        self.load.generator_busy = (usage.ru_utime + usage.ru_stime) / max(self.load.seconds, 0.001)
        return self.load

    def said(self, word):
        """Waits until its output has this word; False when it ended without."""
        while time.monotonic() < self.deadline and self.process.poll() is None:
            # Not by its own descriptor, whose place belongs to the process.
            with open(f"/proc/self/fd/{self.output.fileno()}", encoding="utf-8") as output:
                if word in output.read():
                    return True
            time.sleep(0.05)
        return False

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


def whole(number):
    """wrk takes whole seconds, and at least one."""
    return max(1, round(number))


def read_wrk(load, path):
    found = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.rstrip("\n").partition("\t")
            found.setdefault(name, []).append(value)
    if "requests" not in found:
        raise RuntimeError("wrk reported nothing: was it ended early?")
    load.requests = int(float(found["requests"][0]))
    load.seconds = float(found["seconds"][0])
    load.bytes = int(float(found["bytes"][0]))
    load.wrong = sum(int(float(value)) for value in found["wrong"])
    load.calls = sum(int(float(value)) for value in found["calls"])
    load.first = found.get("first", [""])[0]
    # Its "status" are answers, counted as wrong already.
    load.errors = {name.split()[1]: int(float(value[0])) for name, value in found.items()
                   if name.startswith("error ") and name != "error status" and float(value[0]) > 0}
    load.latency = {percentile: float(found[f"p{percentile}"][0]) / 1000 for percentile in PERCENTILES}
    load.latency["max"] = float(found["max"][0]) / 1000
    load.buckets = sorted((read_bucket(value) for value in found.get("bucket", [])
                           if not value.startswith("0\t")), key=lambda bucket: bucket[0])


def read_bucket(text):
    when, good, bad, *providers = text.split("\t")
    counts = {name: int(count) for name, _, count in (provider.rpartition("=") for provider in providers)}
    return float(when), int(good), int(bad), counts


def read_oha(load, text):
    """Its JSON, as its schema.json describes it. Bodies are not looked at: the probes do that."""
    found = json.loads(text)
    statuses = {int(status): count for status, count in found["statusCodeDistribution"].items()}
    load.requests = sum(statuses.values())
    load.calls = statuses.get(200, 0)
    load.wrong = load.requests - load.calls
    load.first = f"statuses: {statuses}" if load.wrong else ""
    # What the end of the run cut is no failure of the node's.
    load.errors = {kind: count for kind, count in found["errorDistribution"].items() if "deadline" not in kind}
    load.seconds = found["summary"]["total"]
    load.bytes = found["summary"]["totalData"]
    load.latency = {percentile: (found["latencyPercentiles"].get(f"p{percentile}") or 0.0) * 1000
                    for percentile in PERCENTILES}
    load.latency["max"] = (found["summary"]["slowest"] or 0.0) * 1000


def read_h2load(load, path, expected):
    """Its log: start in µs of Unix time, status (-1: none), µs until the answer's end. Bodies are not looked at."""
    with open(path, encoding="utf-8") as lines:
        rows = [tuple(int(field) for field in line.split("\t")[:3]) for line in lines]
    offset = time.time() - time.monotonic()
    answered = [row for row in rows if row[1] > 0]
    load.requests = len(answered)
    load.calls = sum(1 for row in answered if row[1] == 200)
    load.wrong = load.requests - load.calls
    load.errors = {"no answer": expected - load.requests} if expected > load.requests else {}
    load.latency = percentiles([duration / 1000 for _, _, duration in answered])
    counts = {}
    for start, status, duration in answered:
        ended = round((start + duration) / 1e6 - offset, 1)
        good, bad = counts.get(ended, (0, 0))
        counts[ended] = (good + (status == 200), bad + (status != 200))
    load.buckets = [(when, good, bad, {}) for when, (good, bad) in sorted(counts.items())]
    if answered:
        load.seconds = (max(s + d for s, _, d in answered) - min(s for s, _, _ in answered)) / 1e6


def read_sockets(load, text):
    """Its last line; `load.sockets` keeps what belongs to WebSockets alone."""
    load.sockets = found = json.loads(text.strip().split("\n")[-1])
    rows = found["rows"]
    load.requests = load.calls = len(rows)
    load.wrong, load.errors, load.first = found["wrong"], found["errors"], found["first"]
    load.calls -= min(load.wrong, load.calls)
    load.latency = percentiles([ms for _, ms in rows])
    counts = {}
    for when, _ in rows:
        counts[round(when, 1)] = counts.get(round(when, 1), 0) + 1
    load.buckets = [(when, count, 0, {}) for when, count in sorted(counts.items())]
    if len(rows) > 1:
        load.seconds = max(when for when, _ in rows) - min(when for when, _ in rows)


def percentiles(values):
    if not values:
        return {percentile: 0.0 for percentile in (*PERCENTILES, "max")}
    values = sorted(values)
    found = {p: values[min(len(values) - 1, int(len(values) * p / 100))] for p in PERCENTILES}
    return {**found, "max": values[-1]}
