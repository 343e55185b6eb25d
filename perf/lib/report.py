"""The result file: what was measured, where, of what, and when. One JSON file a run."""

import datetime
import json
import subprocess

from . import machine, servers

TOOLS = ("wrk", "oha", "strace", "perf")


def head(options, names, settings):
    programs = {name: servers.PEERS[name][0] for name in names if name in servers.PEERS}
    versions = {name: servers.version(program) for name, program in programs.items()}
    for name, binary in (("livechain", options.livechain), ("baseline", options.baseline)):
        if name in names:
            versions[name] = servers.said_by([binary, "--version"])
    versions |= {tool: servers.version(tool) for tool in TOOLS}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": servers.said_by(["git", "describe", "--always", "--dirty"]),
        "machine": machine.describe(),
        "versions": versions,
        "settings": settings,
    }


def write(result, kind):
    stem = result["date"][:16].replace(":", "")
    path = servers.PERF / "results" / f"{stem}-{kind}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def draw(path):
    """The charts beside the file; what was drawn, or why nothing was."""
    python = servers.VENV / "bin" / "python"
    if not python.exists():
        return "no charts: perf/setup installs matplotlib"
    done = subprocess.run([python, servers.PERF / "lib" / "plot.py", path], capture_output=True, text=True)
    return (done.stdout if done.returncode == 0 else f"no charts: {done.stderr}").strip()
