"""A picture of each dashboard from live results, for readers without a Grafana at hand: docs/dashboards/<uid>.svg."""

import re
import time

from .lint import lint
from .live import Runner
from .model import VARIABLE
from .sources import Mistake
from .svg import DIM, GRID, TEXT, Panel, box, label

COLUMN, UNIT, MARGIN, HEAD = 40, 24, 10, 62
LIMIT = 80_000
FONT = "Helvetica, Arial, sans-serif"
NOTE = "Preview, not Grafana: drawn by scripts/dashboards.sh --preview from the results of every query in a demo run."


def unfolded(dashboard):
    """(panel, y) of every panel, with the collapsed rows opened."""
    down = 0
    for panel in dashboard["panels"]:
        yield panel, panel["gridPos"]["y"] + down
        inner = panel.get("panels", [])
        for one in inner:
            yield one, one["gridPos"]["y"] + down
        if inner:
            down += max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in inner) - panel["gridPos"]["y"] - 1


def variables_line(dashboard, values):
    parts = []
    for variable in dashboard["templating"]["list"]:
        known = values.get(variable["name"])
        if known:
            chosen = "All" if variable.get("includeAll") else ", ".join(map(str, known[0]))
            parts.append(f"{variable['label']}: {chosen}")
    return "   ".join(parts)


def draw(dashboard, results, values, now):
    placed = list(unfolded(dashboard))
    width = 24 * COLUMN + 2 * MARGIN
    bottom = max(y + panel["gridPos"]["h"] for panel, y in placed) * UNIT + HEAD + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom}" font-family="{FONT}">',
        f"<title>{dashboard['title']}: preview, not Grafana</title>",
        box(0, 0, width, bottom, "#111217"),
        label(MARGIN, 24, dashboard["title"], 17, TEXT, bold=True),
        label(width - MARGIN, 24, variables_line(dashboard, values), 10, DIM, "end"),
        label(MARGIN, 44, NOTE, 11, "#ff9830"),
    ]
    for panel, y in placed:
        grid = panel["gridPos"]
        area = (MARGIN + grid["x"] * COLUMN, HEAD + y * UNIT, grid["w"] * COLUMN - 6, grid["h"] * UNIT - 6)
        if panel["type"] == "row":
            title = VARIABLE.sub(lambda m: ", ".join(values.get(m["plain"] or m["braced"], [[]])[0]), panel["title"])
            parts.append(label(area[0], area[1] + 15, f"▾ {title}", 12, TEXT, bold=True))
            parts.append(f'<path d="M{area[0]} {area[1] + 20}h{24 * COLUMN}" stroke="{GRID}"/>')
        else:
            parts += Panel(panel, results.get(panel["id"], []), area, now).draw()
    return nameless("\n".join(parts) + "\n</svg>\n")


def nameless(text):
    """Without the names of the machine that it was drawn on."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", text)
    return re.sub(r"acequia-[0-9a-f]{12}@[\w.-]+", "rabbit@host", text)


def write_previews(folder, project, prometheus, postgres):
    faults, dashboards = lint(project)
    if faults:
        raise Mistake(faults[0])
    folder.mkdir(parents=True, exist_ok=True)
    runner = Runner(project, prometheus, postgres)
    for dashboard in dashboards:
        if dashboard["uid"].startswith("runbook-"):
            continue
        results = {}
        for query, result in runner.results(dashboard):
            if isinstance(result, ValueError):
                raise Mistake(f"{query.where}: {result}")
            if query.panel:
                results.setdefault(query.panel["id"], []).append((query.target, result))
        text = draw(dashboard, results, runner.values.known, time.time())
        if len(text.encode()) > LIMIT:
            raise Mistake(f"{dashboard['uid']}: the preview has {len(text.encode())} bytes, more than {LIMIT}")
        (folder / f"{dashboard['uid']}.svg").write_text(text)
        print(f"wrote {folder}/{dashboard['uid']}.svg, {len(text.encode()):,} bytes")
