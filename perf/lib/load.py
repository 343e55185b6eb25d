"""Runs the load generators and reads what they say: wrk as fast as it is answered, oha at a constant rate.

To look at each body costs wrk so much that it would be the limit of every proxy. So it does that in the second before
a measurement (`warm`); what is measured is then held against the mean length of those answers, and every status must be
200. oha does not look at bodies either, and is held against the length of the right one. Latencies are microseconds.
"""

import json
import os
import re
import subprocess
import tempfile

from . import servers

PERCENTILES = ("p50", "p99", "p99.9")
# After its time is up oha may wait for calls under way, and for those that a slow proxy left queueing.
GRACE_SECONDS = 15
# The mean length of an answer, head included, may differ by so much from that of the answers looked at: a date or a
# duration in a head has a digit more or less. No other answer is so near to the right one.
LENGTH_TOLERANCE = 0.01


class Load:
    """What one run of a generator found."""

    def __init__(self, requests=0, latency_us=None, wrong=None, achieved=None):
        self.requests = requests
        self.latency_us = latency_us or {}
        self.wrong = wrong              # what makes it void, in words
        self.achieved = achieved        # share of the asked rate; None where no rate was asked
        self.answer_bytes = None        # on the wire, the mean; only wrk tells


def warm(server, connections, on):
    """A second of load in which each body is looked at. What is wrong with one spoils all loads until the next."""
    server.looked_at = None
    found = wrk(server, connections, 1, on, look=True)
    server.looked_at = found
    return found


def wrk(server, connections, seconds, on, look=False):
    command = ["taskset", "-c", on, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "5s",
               "-s", str(servers.PERF / "post.lua"), server.url]
    environment = {**os.environ, "PERF_LOOK": "1"} if look else None
    said = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    count, size = re.search(r"(\d+) requests in ([\d.]+)(s|m)", said), re.search(r"^bytes: (\d+)", said, re.M)
    if not (count and size) or int(count[1]) == 0:
        return Load(wrong=f"no requests: {said[-300:]}")
    wrong = re.search(r"(Socket errors|Non-2xx|wrong bodies).*", said)
    latency = {f"p{p}": microseconds(text) for p, text in re.findall(r"^\s+(50|99)%\s+(\S+)", said, re.M)}
    found = Load(int(count[1]), latency, wrong[0] if wrong else None)
    found.answer_bytes = int(size[1]) / found.requests
    found.wrong = found.wrong or unlike(found, server.looked_at)
    return found


def unlike(found, looked_at):
    """What tells that these are not the answers that were looked at, or that those were wrong."""
    if looked_at is None or looked_at.wrong:
        return looked_at and looked_at.wrong
    expected = looked_at.answer_bytes
    if abs(found.answer_bytes - expected) > LENGTH_TOLERANCE * expected:
        return f"{found.answer_bytes:.1f} bytes an answer, where those looked at had {expected:.1f}"
    return None


def microseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return round(float(value) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}[unit], 1)


def oha(server, connections, rate, seconds, on, threads=1):
    with tempfile.NamedTemporaryFile(suffix=".json") as body:
        body.write(servers.CALL)
        body.flush()
        command = ["taskset", "-c", on, servers.find("oha"), "--no-tui", "--output-format", "json",
                   "--latency-correction", "-w", "--worker-threads", str(threads), "-z", f"{seconds}s",
                   "-c", str(connections), "-q", str(rate), "-t", "5s", "-m", "POST", "-T", "application/json",
                   "-D", body.name, server.url]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return Load(achieved=0.0)
    if done.returncode != 0:
        return Load(wrong=f"oha failed: {done.stderr.strip()[-300:]}")
    return read_oha(json.loads(done.stdout), rate, server.answer_bytes)


def read_oha(found, rate, answer_bytes):
    """Its JSON. Any status but 200, any error and any other length of body makes it wrong."""
    statuses, errors = found["statusCodeDistribution"], found["errorDistribution"]
    requests, summary = statuses.get("200", 0), found["summary"]
    latency = {p: round((found["latencyPercentiles"][p] or 0) * 1e6, 1) for p in PERCENTILES}
    wrong = None
    if errors or set(statuses) != {"200"}:
        wrong = f"statuses {statuses}, errors {errors}"
    elif summary["totalData"] != requests * answer_bytes:
        wrong = f"{summary['totalData']} bytes in {requests} answers, where the right one has {answer_bytes}"
    return Load(requests, latency, wrong, round(summary["requestsPerSec"] / rate, 4))
