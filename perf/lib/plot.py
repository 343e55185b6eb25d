"""Draws the charts of a result file beside it, one SVG a section: `plot.py RESULT.json`.

A program of its own, run by the Python in perf/.venv, since it needs matplotlib and the measuring does not. Bars are
medians; lines on them reach from the least to the greatest of the rounds.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
# Text stays text, and two runs over one file give the same bytes.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "perf", "font.size": 9, "axes.axisbelow": True})
from matplotlib import pyplot, ticker  # noqa: E402  (after the choice of what draws)

OURS, THEIRS = "#c2410c", "#64748b"


def colour(name):
    return OURS if name.startswith(("livechain", "baseline")) else THEIRS


def chart(charts, title, width=4.6):
    drawing, axes = pyplot.subplots(1, charts, figsize=(width * charts, 3.2), layout="constrained", squeeze=False)
    drawing.suptitle(title)
    return drawing, axes[0]


def bars(axis, title, values, spans=None, notes=None):
    """Named bars from top to bottom, with their figures and notes; where there is no figure, the note alone."""
    spans, notes = spans or {}, notes or {}
    names = [name for name, value in values.items() if value is not None or name in notes]
    positions = range(len(names))
    axis.barh(positions, [values[name] or 0 for name in names], color=[colour(name) for name in names], height=0.65)
    for position, name in zip(positions, names):
        low, high = spans.get(name, (values[name] or 0, values[name] or 0))
        axis.plot([low, high], [position, position], color="black", linewidth=1)
        text = " ".join(filter(None, (figure(values[name]), notes.get(name))))
        axis.annotate(text, (max(high, 0), position), xytext=(4, 0), textcoords="offset points", va="center")
    axis.set_yticks(positions, names)
    axis.invert_yaxis()
    axis.margins(x=0.4 if notes else 0.2)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: figure(value)))
    axis.set_title(title)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def figure(value):
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def column(rows, key):
    return {name: row.get(key) for name, row in rows.items()}


def cpu(found):
    widths = found["by_connections"]
    drawing, axes = chart(2 * len(widths) + 1, "One core for the proxy, as many calls as are answered")
    for index, (connections, rows) in enumerate(widths.items()):
        spans = {name: (row["cpu_us_min"], row["cpu_us_max"]) for name, row in rows.items()}
        bars(axes[2 * index], f"CPU µs per request, {connections} connections", column(rows, "cpu_us_per_request"), spans)
        limits = {name: "(load's limit)" for name, row in rows.items() if row["limited_by"] == "load"}
        bars(axes[2 * index + 1], f"Requests per second, {connections} connections",
             column(rows, "requests_per_second"), notes=limits)
    bars(axes[-1], "RSS after the load, MiB",
         {name: memory["after_load"] / 1024 for name, memory in found["rss_kib"].items()})
    return drawing


def latency(found):
    drawing, axes = chart(3, f"µs added to the direct path at {found['rate']:,} requests per second")
    rows = {name: row for name, row in found["rows"].items() if name != "direct"}
    for axis, percentile in zip(axes, ("p50_us", "p99_us", "p99.9_us")):
        key = f"added_{percentile}"
        spans = {name: (row[f"{key}_min"], row[f"{key}_max"]) for name, row in rows.items() if row[key] is not None}
        notes = {name: "cannot keep up" for name, row in rows.items() if row[key] is None and row["beyond_capacity"]}
        bars(axis, percentile.removesuffix("_us").upper(), column(rows, key), spans, notes)
    return drawing


def single(found):
    drawing, axes = chart(2, f"One connection (livechain-spin: shards.spin_us = {found['spin_us']})")
    bars(axes[0], "P50, µs", column(found["rows"], "p50_us"))
    bars(axes[1], "CPU µs per request",
         column({name: row for name, row in found["rows"].items() if name != "direct"}, "cpu_us_per_request"))
    return drawing


def syscalls(found):
    drawing, axes = chart(1, "System calls per request, 64 connections", 6)
    bars(axes[0], "counted in the kernel; under strace where that is not allowed",
         {name: row["strace_calls_per_request"] if row["calls_per_request"] is None else row["calls_per_request"]
          for name, row in found.items()})
    return drawing


def shards(found):
    drawing, axes = chart(1, f"CPU µs per request at {found['rate_per_shard']:,} requests per second and shard", 6)
    costs = found["cpu_us_per_request"]
    names = {"first core": "one shard, first core", "second core": "one shard, second core", "both cores": "two shards"}
    bars(axes[0], "", {names[name]: cost for name, cost in costs.items()})
    return drawing


DRAWN = {"cpu": cpu, "latency": latency, "single": single, "syscalls": syscalls, "shards": shards}


def main():
    path = pathlib.Path(sys.argv[1])
    sections = json.loads(path.read_text())["sections"]
    for name in (name for name in DRAWN if sections.get(name, {}).get("summary")):
        out = path.with_name(path.name.replace("-compare.json", f"-{name}.svg"))
        DRAWN[name](sections[name]["summary"]).savefig(out, format="svg", metadata={"Date": None})
        print(out.name)


main()
