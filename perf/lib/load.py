"""Runs the load generators and reads what they say: wrk as fast as it is answered, oha at a constant rate.

wrk looks at every body (post.lua). oha does not, so the length of what it got is compared with that of the right
answer. Latencies are microseconds.
"""

import json
import re
import subprocess
import tempfile

from . import servers

PERCENTILES = ("p50", "p99", "p99.9")
# After its time is up oha may wait for calls under way, and for those that a slow proxy left queueing.
GRACE_SECONDS = 15


class Load:
    """What one run of a generator found."""

    def __init__(self, requests=0, latency_us=None, wrong=None, achieved=None):
        self.requests = requests
        self.latency_us = latency_us or {}
        self.wrong = wrong              # what makes it void, in words
        self.achieved = achieved        # share of the asked rate; None where no rate was asked


def wrk(server, connections, seconds, on):
    command = ["taskset", "-c", on, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "5s",
               "-s", str(servers.PERF / "post.lua"), server.url]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    count = re.search(r"(\d+) requests in ([\d.]+)(s|m)", said)
    if not count or int(count[1]) == 0:
        return Load(wrong=f"no requests: {said[-300:]}")
    wrong = re.search(r"(Socket errors|Non-2xx|wrong bodies).*", said)
    latency = {f"p{p}": microseconds(text) for p, text in re.findall(r"^\s+(50|99)%\s+(\S+)", said, re.M)}
    return Load(int(count[1]), latency, wrong[0] if wrong else None)


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
