"""Draws what was found: tables for the terminal, and one HTML file with inline SVG that needs nothing beside it.

Charts are lines over a linear or logarithmic axis; colours are told apart without red against green, and each line is
named in the legend. Nothing here knows what is drawn.
"""

import html
import math

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 22, 16, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b")
POINTS_MAX = 400

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 800px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; }
th, td { padding: 3px 12px 3px 0; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: normal; }
svg { width: 100%; height: auto; margin: 0.3em 0 1.2em; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.grid { stroke: #8885; stroke-width: 1; }
.mark { stroke: #8889; stroke-dasharray: 3 3; }
.failed { color: #d55e00; font-weight: bold; }
.note { opacity: 0.8; }
"""


def number(value):
    """A number as people read it: three digits that matter."""
    if isinstance(value, str):
        return value
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def text_table(head, rows):
    cells = [list(head)] + [[number(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        lines.append("  ".join([first] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def html_table(head, rows, text=False):
    kind = ' class="text"' if text else ""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{html.escape(number(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def nice_step(span, count):
    """A step of 1, 2 or 5 times a power of ten that goes at most `count` times into `span`."""
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw * 0.999)


class Axis:
    """Where a value lies between two ends in pixels, and which values get a line."""

    def __init__(self, low, high, start, end, logarithmic):
        self.logarithmic, self.start, self.end = logarithmic, start, end
        if logarithmic:
            low, high = max(low, 1e-3), max(high, 2e-3)
            # A little air on both sides, so that a single value is no flat line on the edge.
            self.low, self.high = math.log10(low / 1.2), math.log10(high * 1.2)
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            steps = (1,) if self.high - self.low > 3 else (1, 2, 5)
            self.ticks = [step * 10.0**decade for decade in decades for step in steps]
        else:
            self.low, self.high = low, high if high > low else low + 1
            step = nice_step(self.high - self.low, 6)
            first = math.ceil(self.low / step)
            self.ticks = [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        self.ticks = [tick for tick in self.ticks if self.low - 1e-9 <= self.of(tick) <= self.high + 1e-9]

    def of(self, value):
        return math.log10(max(value, 1e-3)) if self.logarithmic else value

    def at(self, value):
        share = (self.of(value) - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0), 1) * (self.end - self.start)


def thin(points):
    """At most so many points, each the highest of its neighbours: a peak is what is looked for."""
    size = math.ceil(len(points) / POINTS_MAX)
    if size <= 1:
        return points
    return [max(points[i : i + size], key=lambda point: point[1]) for i in range(0, len(points), size)]


def chart(title, series, x_name, y_name, log_x=False, log_y=False, marks=(), x_labels=None):
    """`series` are (name, [(x, y)]); `marks` are (x, text); `x_labels` are (x, text) in the place of numbers."""
    series = [(name, thin(points)) for name, points in series if points]
    if not series:
        return ""
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    x_axis = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, log_x)
    y_axis = Axis(min(ys) if log_y else 0, max(ys) if log_y else max(ys) * (1.15 if marks else 1.05), HEIGHT - BOTTOM, TOP, log_y)
    parts = [grid(x_axis, y_axis, x_labels)]
    for x, text in marks:
        if min(xs) <= x <= max(xs):
            at = x_axis.at(x)
            parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                         f'<text x="{at + 3:.1f}" y="{TOP + 9}">{html.escape(text)}</text>')
    for index, (_, points) in enumerate(series):
        parts.append(line(points, x_axis, y_axis, COLOURS[index % len(COLOURS)]))
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{html.escape(x_name)}</text>')
    drawing = (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" role="img">'
               f"<title>{html.escape(title)}</title>{''.join(parts)}</svg>")
    return f"<h2>{html.escape(title)}</h2><div class=\"note\">{html.escape(y_name)}{legend(series)}</div>{drawing}"


def grid(x_axis, y_axis, x_labels):
    parts = []
    for tick in y_axis.ticks:
        at = y_axis.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
                     f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick, text in x_labels or [(tick, number(tick)) for tick in x_axis.ticks]:
        at = x_axis.at(tick)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}"/>'
                     f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{html.escape(text)}</text>')
    return "".join(parts)


def line(points, x_axis, y_axis, colour):
    at = [(x_axis.at(x), y_axis.at(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    if len(at) <= 24:
        drawn += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in at)
    return drawn


def legend(series):
    return "".join(
        f' &nbsp;<span style="color:{COLOURS[index % len(COLOURS)]}">&#9632;</span> {html.escape(name)}'
        for index, (name, _) in enumerate(series))


def document(title, parts):
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n")
