"""How the upstream and each proxy are started, and how one tells that it answers rightly.

A proxy that is not installed is left out by name, never silently. Configs stand in perf/config with `@NAME@` for what a
run decides. All answer on 127.0.0.1, on ports below those that the kernel gives to connections.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PERF = pathlib.Path(__file__).resolve().parent.parent
VENV = PERF / ".venv"
CALL = (
    b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance",'
    b'"params":["0x00000000000000000000000000000000000000aa","latest"]}'
)
RESULT = "0xde0b6b3a7640000"
# Away from those of the tests.
PORTS = iter(range(10_000, 12_000))
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10


def free_port():
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    sys.exit("no port is free")


class Server:
    """A program pinned to cores, stopped by its own process id; it ends with this program, however that ends."""

    def __init__(self, name, command, on, port, path="/rpc/ethereum", environment=None, quiet=False):
        self.name, self.port, self.admin_port = name, port, None
        self.url = f"http://127.0.0.1:{port}{path}"
        self.answer_bytes = None
        self.looked_at = None       # what the load found in which bodies were looked at last
        self.rss_kib_start = None
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", on, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else self.log,
            stderr=self.log,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self):
        return self.process.pid

    def wait(self):
        """Until a call gets the right answer."""
        end, problem = time.monotonic() + START_SECONDS_MAX, None
        while time.monotonic() < end and self.process.poll() is None:
            try:
                request = urllib.request.Request(self.url, CALL, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=5) as answer:
                    body = answer.read()
                if json.loads(body).get("result") == RESULT:
                    self.answer_bytes = len(body)
                    return self
                problem = f"a wrong answer: {body[:200]}"
            except (OSError, ValueError) as error:
                problem = error
            time.sleep(0.05)
        self.log.seek(0)
        sys.exit(f"{self.name} does not answer: {problem}\n{self.log.read().decode(errors='replace')}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def fill(name, directory, **values):
    """A config from perf/config, with what this run decides filled in."""
    text = (PERF / "config" / name).read_text()
    for key, value in {"DIR": directory, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    path = directory / name
    path.write_text(text)
    return str(path)


def upstream(directory, on, workers=1):
    """The neutral upstream, in a directory of its own."""
    port = free_port()
    config = fill("upstream.conf", directory, PORT=port, WORKERS=workers)
    return Server("upstream", ["nginx", "-p", str(directory), "-c", config], on, port)


def livechain(binary, directory, on, upstream_port, name="livechain", spin_us=0):
    port, admin_port = free_port(), free_port()
    values = {"PORT": port, "ADMIN_PORT": admin_port, "UPSTREAM_PORT": upstream_port}
    config = fill("livechain.toml", directory, **values, CORES=on, SPIN_US=spin_us)
    server = Server(name, [binary, "run", "--config", config], on, port)
    server.admin_port = admin_port
    return server


def peer(name, directory, on, upstream_port):
    port = free_port()
    program, config_name, arguments, more = PEERS[name]
    config = fill(config_name, directory, PORT=port, UPSTREAM_PORT=upstream_port)
    command = [find(program), *(argument.format(config=config, directory=directory) for argument in arguments)]
    return Server(name, command, on, port, **more)


# tokio would take a thread for each core of its mask: said here too, so that nothing depends on how a version counts.
ONE_THREAD = {"TOKIO_WORKER_THREADS": "1"}
# name: program, config, arguments, what else differs. blutgang prints for each request; roxy answers on `/` alone.
PEERS = {
    "haproxy": ("haproxy", "haproxy.cfg", ["-db", "-q", "-f", "{config}"], {}),
    "nginx": ("nginx", "nginx.conf", ["-p", "{directory}", "-c", "{config}"], {}),
    "envoy": ("envoy", "envoy.yaml",
              ["-c", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "error"], {}),
    "blutgang": ("blutgang", "blutgang.toml", ["--config", "{config}"], {"environment": ONE_THREAD, "quiet": True}),
    "roxy": ("roxy-proxy", "roxy.toml", ["--config", "{config}", "--log-level", "error"],
             {"environment": ONE_THREAD, "path": "/"}),
}
VERSIONS = {"haproxy": "-v", "nginx": "-v", "wrk": "-v"}


def find(program):
    """Where a program is, or None. Envoy's wheel holds its binary; the script beside it would stay as a parent."""
    if program == "envoy":
        in_wheel = sorted(VENV.glob("lib/python*/site-packages/envoy/_bin/envoy"))
        if in_wheel:
            return str(in_wheel[0])
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{pathlib.Path.home()}/.cargo/bin")


def installed(name):
    return find(PEERS[name][0]) if name in PEERS else None


def version(program):
    path = find(program)
    return said_by([path, VERSIONS.get(program, "--version")]) if path else None


def said_by(command):
    """The first line of what a command prints; None where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=PERF, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Some say where they stand, which is this machine's affair.
    said = (done.stdout + done.stderr).replace(command[0], pathlib.Path(command[0]).name)
    return said.strip().split("\n")[0].strip()
