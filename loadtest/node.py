"""Nodes and mock providers of our own, and what is known of a node while it runs.

What is started here is ended here, by its own process id. A node is watched by its process id when it runs on this machine
(memory, descriptors, CPU time), by /metrics when its admin port is known, and by a probe in any case: a small call
some twenty times a second on a connection of its own, whose answer is parsed whole.
"""

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
START_S = 10
STOP_S = 10
LOOK_INTERVAL_S = 0.25
PROBE_INTERVAL_S = 0.05


def binary(given):
    """The program to start: what is given, or the newest build."""
    given = given or os.environ.get("LIVECHAIN_BINARY")
    if given:
        return given
    builds = [os.path.join(ROOT, "target", kind, "livechain") for kind in ("release", "debug")]
    builds = [path for path in builds if os.access(path, os.X_OK)]
    if not builds:
        raise RuntimeError("no program to start: cargo build --release, or --binary PATH, or --url URL of a node that runs")
    return max(builds, key=os.path.getmtime)


class Process:
    """A child that ends with us."""

    def __init__(self, command, **options):
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **options)
        self.pid = self.child.pid

    def lines_until(self, seconds):
        """Its lines as they come, for so long. A line is read whole once its beginning is there."""
        until = time.monotonic() + seconds
        os.set_blocking(self.child.stdout.fileno(), False)
        held = ""
        while time.monotonic() < until:
            ready, _, _ = select.select([self.child.stdout], [], [], 0.1)
            text = os.read(self.child.stdout.fileno(), 65536).decode() if ready else ""
            if ready and not text:
                raise RuntimeError(f"{self.child.args[0]} ended by itself, status {self.child.wait()}")
            *lines, held = (held + text).split("\n")
            yield from lines
        raise RuntimeError(f"{self.child.args[0]} did not say in {seconds} s what was waited for")

    def signal(self, number):
        self.child.send_signal(number)

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()


class Node(Process):
    """`livechain demo`, or `livechain run` with the config's text in a file; both on ports that the system chooses."""

    def __init__(self, program, config=None):
        log = subprocess.DEVNULL
        if config is None:
            super().__init__([program, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], stderr=log)
            wanted = re.compile(r"(?P<admin>http://[\d.]+:\d+)/metrics|(?P<http>http://[\d.]+:\d+)/api/status")
        else:
            super().__init__([program, "run", "--config", config], stderr=subprocess.STDOUT)
            wanted = re.compile(r"http=\[(?P<http>[\d.:]+).*admin=Some\((?P<admin>[\d.:]+)\)")
        found = {}
        try:
            for line in self.lines_until(START_S):
                match = wanted.search(re.sub(r"\x1b\[[\d;]*m", "", line))
                found.update({k: v for k, v in (match.groupdict() if match else {}).items() if v})
                if len(found) == 2:
                    break
            self.base, self.admin = (
                found[name] if found[name].startswith("http") else f"http://{found[name]}" for name in ("http", "admin"))
            self.wait_ready()
        except BaseException:
            self.end()
            raise
        # What it says from here on is read by nobody, and must not fill the pipe.
        threading.Thread(target=self.drain, daemon=True).start()

    def wait_ready(self):
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                if urllib.request.urlopen(f"{self.base}/api/ready", timeout=1).status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the node was not ready in {START_S} s")

    def drain(self):
        try:
            while select.select([self.child.stdout], [], [])[0] and os.read(self.child.stdout.fileno(), 65536):
                pass
        except (OSError, ValueError):
            pass  # closed at the end


class Provider:
    """provider.py, which can be killed and started again on the same port."""

    def __init__(self, name, delay_ms, block_s=12):
        self.name, self.delay_ms, self.block_s, self.port, self.process = name, delay_ms, block_s, 0, None
        self.start()

    def start(self):
        self.process = Process([sys.executable, os.path.join(HERE, "provider.py"), str(self.port), str(self.delay_ms),
                                str(self.block_s)])
        self.port = int(next(iter(self.process.lines_until(START_S))))

    def heads(self):
        """Subscriptions of heads that it has; 0 when it does not answer."""
        try:
            return int(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/heads", timeout=1).read())
        except OSError:
            return 0

    def kill(self):
        self.process.child.kill()
        self.process.child.wait()

    def end(self):
        self.process.end()


def config(providers):
    """A node's config before those providers."""
    providers = list(providers)
    rows = "".join(
        f'[[chains.providers]]\nid = "{p.name}"\nurl = "http://127.0.0.1:{p.port}"\nws_url = "ws://127.0.0.1:{p.port}"\n'
        for p in providers)
    return (
        '[node]\nregion = "loadtest"\nid = "loadtest"\n'
        '[listen]\nhttp = ["127.0.0.1:0"]\nadmin = "127.0.0.1:0"\n'
        '[life]\ndrain_delay = "0s"\ndrain_limit = "5s"\nupgrade = false\n'
        '[[chains]]\nname = "ethereum"\nid = 1\nblock_time = "%dms"\n' % (1000 * next(iter(providers)).block_s) + rows)


def metrics(admin, token):
    """Sums over all labels by name, of the admin port's /metrics; {} when it does not answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(f"{admin.rstrip('/')}/metrics", headers=headers)
        text = urllib.request.urlopen(request, timeout=2).read().decode()
    except OSError:
        return {}
    sums = {}
    for line in text.splitlines():
        match = re.match(r"(\w+)(?:\{.*\})? (\S+)$", line)
        if match:
            sums[match[1]] = sums.get(match[1], 0.0) + float(match[2])
    return sums


def of_process(pid):
    """Resident memory in MiB, open descriptors and CPU seconds; {} when the process cannot be looked at."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return {"rss": rss, "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "cpu": cpu}
    except OSError:
        return {}


class Watch:
    """Looks at the node and probes it until told to stop."""

    def __init__(self, url, headers, call, pid=None, admin=None, token=None, probes_per_second=1 / PROBE_INTERVAL_S):
        self.url, self.headers, self.call = urllib.parse.urlsplit(url), dict(headers), call
        self.pid, self.admin, self.token = pid, admin, token
        self.interval = 1 / probes_per_second
        self.samples = []   # (time, {"rss", "descriptors", "cpu", and the metrics by name})
        self.probes = []    # (time of sending, ms, "" or what was wrong)
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.sampling, self.probing)]
        for thread in self.threads:
            thread.start()

    def look(self):
        found = of_process(self.pid) if self.pid else {}
        return {**(metrics(self.admin, self.token) if self.admin else {}), **found}

    def sampling(self):
        while not self.stopped.is_set():
            self.samples.append((time.monotonic(), self.look()))
            self.stopped.wait(LOOK_INTERVAL_S)

    def probing(self):
        connection, number = None, 0
        due = time.monotonic()
        while not self.stopped.wait(max(0.0, due - time.monotonic())):
            number += 1
            try:
                connection = connection or self.connect()
                wrong = self.probe(connection, f"probe-{number}")
            except (OSError, http.client.HTTPException) as error:
                wrong = f"{type(error).__name__}: {error}"
            if wrong and connection:
                connection.close()
                connection = None
            # One that was due while this one was under way would have waited for what was left of it: without these a
            # stall of a second would count as one slow probe of twenty.
            ended = time.monotonic()
            while due <= ended:
                self.probes.append((due, (ended - due) * 1000, wrong))
                due, wrong = due + self.interval, ""
        if connection:
            connection.close()

    def who_answers(self):
        """The provider that answers a call now; "" where the node does not say."""
        connection = self.connect()
        try:
            return self.send(connection, "who")[0].getheader("X-Livechain-Provider", "")
        finally:
            connection.close()

    def connect(self):
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        return kind(self.url.hostname, self.url.port, timeout=20)

    def probe(self, connection, number):
        """What is wrong with the answer; "" if nothing."""
        answer, text = self.send(connection, number)
        if answer.status != 200:
            return f"{answer.status} {text[:200]!r}"
        try:
            reply = json.loads(text)
            fine = reply["id"] == number and reply["jsonrpc"] == "2.0" and "result" in reply
        except (ValueError, KeyError, TypeError):
            fine = False
        return "" if fine else f"not the answer: {text[:200]!r}"

    def send(self, connection, number):
        method, params = self.call
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        target = self.url.path + (f"?{self.url.query}" if self.url.query else "")
        connection.request("POST", target, json.dumps(call), {"Content-Type": "application/json", **self.headers})
        answer = connection.getresponse()
        return answer, answer.read()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(25)
