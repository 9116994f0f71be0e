"""Panels as SVG, from what their queries gave."""

import datetime
import math
import re
from html import escape

from .values import COLOURS, PALETTE, cell, legend, mapped, nice, seconds, shown, threshold_colour

TEXT, DIM, GRID = COLOURS["text"], "#8e8e99", "#2c3036"
MAX_SERIES = 8


def label(x, y, text, size=11, colour=TEXT, anchor="start", bold=False):
    extra = "" if anchor == "start" else f' text-anchor="{anchor}"'
    extra += ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}"{extra}>{escape(str(text))}</text>'


def box(x, y, w, h, fill, extra=""):
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{max(w, 0.5):.1f}" height="{max(h, 0.5):.1f}" fill="{fill}"{extra}/>'


def moment(text):
    """Seconds since 1970 of a number, or of a time as psql writes it."""
    try:
        return float(text)
    except ValueError:
        return datetime.datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", text)).timestamp()


def cut(text, width, size=11):
    """As much of the text as fits."""
    room = max(int(width / (size * 0.56)), 1)
    return text if len(text) <= room else text[: max(room - 1, 1)] + "…"


class Panel:
    """One panel, where it stands and what its queries gave."""

    def __init__(self, panel, results, area, now):
        self.panel, self.results, self.now = panel, results, now
        self.x, self.y, self.w, self.h = area
        self.defaults = panel.get("fieldConfig", {}).get("defaults", {})
        self.unit, self.decimals = self.defaults.get("unit", "none"), self.defaults.get("decimals")

    def draw(self):
        frame = box(self.x, self.y, self.w, self.h, "#181b1f", ' rx="2" stroke="#2c3036"')
        head = label(self.x + 8, self.y + 16, cut(self.panel["title"], self.w - 14), 11, TEXT, bold=True)
        body = getattr(self, self.panel["type"].replace("-", "_"))()
        return [frame, head, *(body or self.nothing())]

    def nothing(self):
        text = cut(self.defaults.get("noValue", "no data"), self.w - 10)
        return [label(self.x + self.w / 2, self.y + self.h / 2 + 10, text, 11, DIM, "middle")]

    def value(self, number):
        found = mapped(f"{number:g}", self.defaults.get("mappings"))
        return found or (
            shown(number, self.unit, self.decimals, self.now),
            threshold_colour(number, self.defaults.get("thresholds")),
        )

    def series(self):
        """(name, [(time, value)]) of all queries, PromQL or a time series of SQL."""
        made = []
        for target, result in self.results:
            if isinstance(result, list):
                made += [(legend(target, labels, self.panel["title"]), points) for labels, points in result]
                continue
            lines = {}
            names, _, rows = result
            metric = names.index("metric") if "metric" in names else None
            for row in rows:
                for index, name in enumerate(names[1:], 1):
                    if index != metric and row[index]:
                        key = row[metric] if metric is not None else name
                        lines.setdefault(key, []).append((moment(row[0]), float(row[index])))
            made += list(lines.items())
        return made

    def single(self):
        for _, points in self.series() if self.is_promql() else []:
            numbers = [value for _, value in points if value == value]
            if numbers:
                return numbers[-1]
        if not self.is_promql():
            for row in self.results[0][1][2]:
                for text in row:
                    if text:
                        return float(text)
        return None

    def is_promql(self):
        return bool(self.results) and isinstance(self.results[0][1], list)

    def stat(self):
        number = self.single()
        if number is None:
            return None
        text, colour = self.value(number)
        size = 24 if len(text) * 14 < self.w - 10 else 15
        return [label(self.x + self.w / 2, self.y + self.h / 2 + 16, text, size, colour, "middle", bold=True)]

    def gauge(self):
        number = self.single()
        if number is None:
            return None
        text, colour = self.value(number)
        low, high = self.defaults.get("min", 0), self.defaults.get("max", 1)
        share = min(max((number - low) / (high - low), 0), 1)
        x, y, w = self.x + 14, self.y + self.h - 18, self.w - 28
        return [
            box(x, y, w, 8, GRID),
            box(x, y, w * share, 8, colour),
            label(self.x + self.w / 2, y - 12, text, 20, colour, "middle", bold=True),
        ]

    def plot(self, names):
        """The area of the graph; below it, the legend."""
        rows = min((len(names) + 2) // 3, 3)
        return self.x + 58, self.y + 26, self.w - 70, self.h - 46 - rows * 14

    def legends(self, names, colours):
        made, width = [], (self.w - 16) / 3
        for index, (name, colour) in enumerate(list(zip(names, colours))[:9]):
            x, y = (
                self.x + 8 + index % 3 * width,
                self.y + self.h - 8 - (min((len(names) + 2) // 3, 3) - 1 - index // 3) * 14,
            )
            made += [box(x, y - 6, 8, 3, colour), label(x + 12, y, cut(name, width - 16, 9), 9, DIM)]
        return made

    def axes(self, area, top, since):
        x, y, w, h = area
        made = []
        for step in range(3):
            at = y + h - h * step / 2
            made.append(f'<path d="M{x:.0f} {at:.0f}h{w:.0f}" stroke="{GRID}"/>')
            # As many decimals as it takes to tell the steps apart.
            decimals = 2 if self.unit == "percentunit" and top < 0.04 else None
            made.append(label(x - 5, at + 3, shown(top * step / 2, self.unit, decimals, self.now), 9, DIM, "end"))
        made.append(label(x, y + h + 11, seconds(since * 60, 0) + " ago", 9, DIM))
        made.append(label(x + w, y + h + 11, "now", 9, DIM, "end"))
        return made

    def timeseries(self):
        lines = [(name, [p for p in points if p[1] == p[1]]) for name, points in self.series()]
        lines = [line for line in lines if line[1]]
        if not lines:
            return None
        lines.sort(key=lambda line: -max(value for _, value in line[1]))
        lines = lines[:MAX_SERIES]
        custom, chosen, marks = self.defaults.get("custom", {}), self.colours(), self.marks()
        stacked, bars = custom["stacking"]["mode"] == "normal", custom["drawStyle"] == "bars"
        limits = [s["value"] for s in self.defaults["thresholds"]["steps"] if s["value"] is not None]
        limits = limits if custom["thresholdsStyle"]["mode"] == "dashed" else []
        times = sorted({at for _, points in lines for at, _ in points})
        first, last = times[0], max(times[-1], times[0] + 60)
        below = dict.fromkeys(times, 0.0)
        if stacked:
            placed = []
            for name, points in lines:
                for at, value in points:
                    below[at] += value
                placed.append((name, [(at, below[at]) for at, _ in points]))
            # The highest first, so that each covers those below it.
            lines = placed
        top = nice(max(value for _, points in lines for _, value in points))
        area = x, y, w, h = self.plot(lines)
        made = self.axes(area, top, (self.now - first) / 60)
        colours = [chosen.get(name, PALETTE[index % len(PALETTE)]) for index, (name, _) in enumerate(lines)]

        def place(at, value):
            return x + w * (at - first) / (last - first), y + h - h * min(max(value / top, 0), 1)

        for (name, points), colour in reversed(list(zip(lines, colours))):
            spots = [place(*point) for point in points]
            if name in marks:
                made += [f'<circle cx="{px:.0f}" cy="{py:.0f}" r="4" fill="{colour}"/>' for px, py in spots]
                continue
            if bars:
                made += [box(px - 2, py, 4, y + h - py, colour) for px, py in spots if y + h - py > 0.5]
                continue
            path = "".join(f"{'L' if index else 'M'}{px:.0f} {py:.0f}" for index, (px, py) in enumerate(spots))
            if stacked:
                fill = f"{path}L{spots[-1][0]:.0f} {y + h:.0f}L{spots[0][0]:.0f} {y + h:.0f}Z"
                made.append(f'<path d="{fill}" fill="{colour}" fill-opacity=".6"/>')
            made.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for limit in limits:
            if 0 < limit <= top:
                at = place(first, limit)[1]
                made.append(f'<path d="M{x:.0f} {at:.0f}h{w:.0f}" stroke="{COLOURS["red"]}" stroke-dasharray="5 4"/>')
        return made + self.legends([name for name, _ in lines], colours)

    def overrides(self, wanted):
        """name -> value of one property of series."""
        return {
            override["matcher"]["options"]: item["value"]
            for override in self.panel["fieldConfig"]["overrides"]
            for item in override["properties"]
            if item["id"] == wanted
        }

    def colours(self):
        return {name: COLOURS[value["fixedColor"]] for name, value in self.overrides("color").items()}

    def marks(self):
        return {name for name, value in self.overrides("custom.drawStyle").items() if value == "points"}

    def piechart(self):
        slices = [(name, float(texts[0] or 0)) for name, _, texts in self.columns() if texts]
        total, chosen = sum(value for _, value in slices), self.colours()
        if not total:
            return None
        x, y, r = self.x + self.w * 0.3, self.y + self.h / 2 + 8, min(self.w * 0.25, self.h / 2 - 20)
        made, turned = [], 0.0
        for index, (name, value) in enumerate(slices):
            share, colour = value / total, chosen.get(name, PALETTE[index % len(PALETTE)])
            if share == 1:
                made.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r:.0f}" fill="{colour}"/>')
            elif share:
                from_, to = (
                    (x + r * math.sin(turn * math.tau), y - r * math.cos(turn * math.tau))
                    for turn in (turned, turned + share)
                )
                arc = f"A{r:.0f} {r:.0f} 0 {int(share > 0.5)} 1 {to[0]:.1f} {to[1]:.1f}"
                made.append(f'<path d="M{x:.0f} {y:.0f}L{from_[0]:.1f} {from_[1]:.1f}{arc}Z" fill="{colour}"/>')
            turned += share
            row = self.y + 50 + index * 18
            made.append(box(self.x + self.w * 0.62, row - 7, 8, 8, colour))
            made.append(label(self.x + self.w * 0.62 + 14, row, f"{name} {value:.0f} ({share:.0%})", 10, DIM))
        return made

    def heatmap(self):
        rows = []
        for labels, points in self.results[0][1] if self.results else []:
            edge = labels.get("le", "+Inf")
            rows.append((float("inf") if edge == "+Inf" else float(edge), edge, dict(points)))
        rows.sort(key=lambda row: row[0])
        if not any(value for _, _, points in rows for value in points.values()):
            return None
        times = sorted({at for _, _, points in rows for at in points})
        # The series count everything up to their edge.
        cells = [
            (rows[i][1], {at: rows[i][2].get(at, 0) - (rows[i - 1][2].get(at, 0) if i else 0) for at in times})
            for i in range(len(rows))
        ]
        used = [i for i, (_, points) in enumerate(cells) if any(value > 0.5 for value in points.values())]
        cells = cells[max(min(used) - 1, 0) : max(used) + 2]
        x, y, w, h = self.x + 58, self.y + 26, self.w - 70, self.h - 46
        most = max(value for _, points in cells for value in points.values())
        tall, wide = h / len(cells), w / len(times)
        made = []
        for index, (edge, points) in enumerate(cells):
            top = y + h - (index + 1) * tall
            name = "more" if edge == "+Inf" else shown(float(edge), "s", None, self.now)
            made.append(label(x - 5, top + tall / 2 + 3, name, 9, DIM, "end"))
            for column, at in enumerate(times):
                if points[at] > 0.5:
                    strength = 0.2 + 0.8 * (points[at] / most) ** 0.5
                    extra = f' fill-opacity="{strength:.1f}"'
                    made.append(box(x + column * wide, top, wide - 1, tall - 1, COLOURS["orange"], extra))
        made.append(label(x, y + h + 11, f"{(self.now - times[0]) / 60:.0f} min ago", 9, DIM))
        return made + [label(x + w, y + h + 11, "now", 9, DIM, "end")]

    def state_timeline(self):
        lines = [(name, points) for name, points in self.series() if points][:10]
        if not lines:
            return None
        first = min(points[0][0] for _, points in lines)
        last = max(max(points[-1][0] for _, points in lines), first + 60)
        names = max(len(name) for name, _ in lines)
        x = self.x + min(12 + names * 5.4, self.w * 0.45)
        w, tall = self.x + self.w - 10 - x, min((self.h - 40) / len(lines), 20)
        made = []
        for index, (name, points) in enumerate(lines):
            y = self.y + 26 + index * tall
            made.append(label(self.x + 8, y + tall / 2 + 3, cut(name, x - self.x - 12, 9.5), 9, DIM))
            start, state = points[0]
            # One box for as long as the state lasts.
            for at, value in [*points[1:], (last, None)]:
                if value != state:
                    left = x + w * (start - first) / (last - first)
                    right = x + w * (at - first) / (last - first)
                    made.append(box(left, y + 2, right - left, tall - 4, self.value(state)[1], ' fill-opacity=".8"'))
                    start, state = at, value
        return made

    def columns(self):
        """(shown as, its overrides, texts) of each column of a table."""
        if self.is_promql():
            rows = [{**labels, "Value": f"{points[-1][1]:g}"} for labels, points in self.results[0][1]]
            names = list(dict.fromkeys(name for row in rows for name in row if name != "__name__"))
            rows = [[row.get(name, "") for name in names] for row in rows]
        else:
            names, _, rows = self.results[0][1]
        options = next((t["options"] for t in self.panel.get("transformations", [])), {})
        order = options.get("indexByName", {})
        for name in sorted(names, key=lambda name: order.get(name, 99)):
            if options.get("excludeByName", {}).get(name):
                continue
            as_ = options.get("renameByName", {}).get(name, name)
            overrides = {}
            for override in self.panel["fieldConfig"]["overrides"]:
                if override["matcher"]["options"] == as_:
                    overrides = {item["id"]: item["value"] for item in override["properties"]}
            yield as_, overrides, [row[names.index(name)] for row in rows]

    def cell(self, text, overrides):
        """(text, colour) of a cell."""
        found = mapped(text, overrides.get("mappings"))
        if found or not text:
            return found or ("", TEXT)
        colour = COLOURS["blue"] if "links" in overrides else TEXT
        if "thresholds" in overrides:
            try:
                colour = threshold_colour(float(text), overrides["thresholds"])
            except ValueError:
                pass
        unit, decimals = overrides.get("unit", self.unit), overrides.get("decimals", self.decimals)
        return cell(text, unit, decimals, self.now), colour

    def table(self):
        columns = list(self.columns())
        if not columns or not columns[0][2]:
            return None
        room = int((self.h - 44) // 16)
        cells = [(name, [self.cell(text, overrides) for text in texts[:room]]) for name, overrides, texts in columns]
        widths = [min(max([len(name), *(len(text) for text, _ in texts)]), 34) + 2 for name, texts in cells]
        made, x, total = [], self.x + 8, sum(widths)
        for (name, texts), width in zip(cells, widths):
            wide = (self.w - 16) * width / total
            made.append(label(x, self.y + 34, cut(name, wide - 4, 9.5), 9, "#6e9fff"))
            for index, (text, colour) in enumerate(texts):
                if text:
                    made.append(label(x, self.y + 50 + index * 16, cut(text, wide - 4, 9.5), 9, colour))
            x += wide
        rest = len(columns[0][2]) - room
        return made + ([label(self.x + self.w - 8, self.y + 16, f"{rest} more", 9, DIM, "end")] if rest > 0 else [])

    def barchart(self):
        field = self.panel["options"]["xField"]
        columns = {name: texts for name, _, texts in self.columns()}
        names, counted = columns.pop(field), list(columns.items())
        numbers = [[float(text or 0) for text in texts] for _, texts in counted]
        if not names:
            return None
        stacked = self.panel["options"]["stacking"] == "normal"
        totals = [sum(column) for column in zip(*numbers)] if stacked else [n for column in numbers for n in column]
        top = self.defaults.get("max") or nice(max(totals))
        flat = self.panel["options"]["orientation"] == "horizontal"
        by_threshold = self.defaults["color"]["mode"] == "thresholds"
        if flat:
            wide = min(max(len(name) for name in names) * 5.4 + 12, self.w * 0.4)
            x, y, w, h = self.x + wide, self.y + 26, self.w - wide - 60, self.h - 36
        else:
            x, y, w, h = self.x + 50, self.y + 26, self.w - 62, self.h - 60
        each = (h if flat else w) / len(names)
        lanes = 1 if stacked else len(counted)
        made = []
        for index, name in enumerate(names):
            spot = (y if flat else x) + index * each
            if flat:
                made.append(label(x - 6, spot + each / 2 + 3, cut(name, x - self.x - 12, 9.5), 9, DIM, "end"))
            else:
                made.append(label(spot + each / 2, y + h + 12, cut(name, each, 9), 9, DIM, "middle"))
            start = 0.0
            for lane, column in enumerate(numbers):
                long = (w if flat else h) * column[index] / top
                colour = threshold_colour(column[index], self.defaults["thresholds"]) if by_threshold else PALETTE[lane]
                thick = each * 0.8 / lanes
                side = spot + each * 0.1 + (0 if stacked else lane * thick)
                if column[index]:
                    made.append(
                        box(x + start, side, long, thick, colour)
                        if flat
                        else box(side, y + h - start - long, thick, long, colour)
                    )
                if flat and lanes == 1 and not stacked:
                    text = shown(column[index], self.unit, self.decimals, self.now)
                    made.append(label(x + long + 4, side + thick / 2 + 3, text, 9, DIM))
                start += long if stacked else 0
        if len(counted) > 1:
            made += [
                part
                for lane, (name, _) in enumerate(counted)
                for part in (
                    box(self.x + 10 + lane * 90, self.y + self.h - 10, 8, 3, PALETTE[lane]),
                    label(self.x + 22 + lane * 90, self.y + self.h - 6, name, 9, DIM),
                )
            ]
        elif not flat:
            made.append(label(x - 5, y + 4, shown(top, self.unit, self.decimals, self.now), 9, DIM, "end"))
        return made

    def alertlist(self):
        return [label(self.x + 8, self.y + 38, "Grafana draws the alerts of Prometheus here.", 10, DIM)]

    def text(self):
        return [label(self.x + 8, self.y + 38, "text", 10, DIM)]
