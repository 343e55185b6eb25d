"""System calls per request under load: how many by the kernel's own count, and which by strace.

strace stops the program at every call, which makes it slower, and a slower program finds more to do each time that it
looks: strace's counts are another load's. They tell which calls there are. How many there are tells `perf stat` on the
tracepoint of system calls, which hardly slows; where the machine does not allow it, strace's sum stands alone.
"""

import re
import signal
import subprocess
import tempfile
import time

from .. import cells, load, machine

TITLE = "System calls per request"
CONNECTIONS = 64
# For a tracer to attach to every thread.
ATTACH_SECONDS = 0.5
# Fewer of a kind than one in a thousand requests are timers and the like.
KIND_MIN = 0.001


def run(bench):
    found = []
    for server in bench.proxies:
        load.warm(server, CONNECTIONS, bench.on_load)
        cell = {"proxy": server.name, "counted": counted(bench, server), "traced": traced(bench, server)}
        cell["void"] = cell["counted"]["void"] or cell["traced"]["void"]
        found.append(cell)
        bench.report(cell)
    return {"cells": found, "summary": {cell["proxy"]: summary(cell) for cell in found if not cell["void"]}}


def summary(cell):
    return {
        "calls_per_request": cell["counted"].get("calls_per_request"),
        "strace_calls_per_request": cell["traced"].get("calls_per_request"),
        "strace_kinds": cell["traced"].get("kinds", {}),
    }


def counted(bench, server):
    pids = ",".join(str(pid) for pid in machine.process_tree(server.pid))
    command = ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", pids]
    cell, said = under(command, bench, server)
    count = re.search(r"^(\d+),", said, re.M)
    if cell["requests"] and count:
        cell["calls_per_request"] = round(int(count[1]) / cell["requests"], 3)
    return cell


def traced(bench, server):
    pids = machine.process_tree(server.pid)
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as out:
        command = ["strace", "-c", "-f", "-o", out.name, *(word for pid in pids for word in ("-p", str(pid)))]
        cell, _ = under(command, bench, server)
        counts = read_strace(out.read())
    if cell["requests"]:
        cell["calls_per_request"] = round(sum(counts.values()) / cell["requests"], 3)
        each = {name: round(count / cell["requests"], 3) for name, count in counts.items()}
        often = sorted(each.items(), key=lambda kind: -kind[1])
        cell["kinds"] = {name: share for name, share in often if share >= KIND_MIN}
    return cell


def under(command, bench, server):
    """A load with a tracer attached to the proxy all the while; the cell and what the tracer printed."""
    tracer = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(ATTACH_SECONDS)
    cell = cells.measure(
        bench, server, lambda: load.wrk(server, CONNECTIONS, bench.options.seconds_single, bench.on_load))
    tracer.send_signal(signal.SIGINT)
    said, _ = tracer.communicate(timeout=30)
    # The tracer works on the proxy's behalf and is no other program: only wrong answers make this void.
    if cell["void"] and cell["void"].startswith("other programs"):
        cell["void"] = None
    return {key: cell[key] for key in ("requests", "requests_per_second", "void")}, said


def read_strace(table):
    """Calls by name: `% time, seconds, usecs/call, calls, errors, name`, where errors may be absent."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w*)$", table, re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}


def show(found):
    print(f"{CONNECTIONS} connections:")
    for name, row in found.items():
        kinds = ", ".join(f"{kind} {share}" for kind, share in list(row["strace_kinds"].items())[:6])
        counted_text = "not counted" if row["calls_per_request"] is None else f"{row['calls_per_request']:.3f}"
        print(f"{name:14} {counted_text:>11}   under strace {row['strace_calls_per_request']}: {kinds}")
