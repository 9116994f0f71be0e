"""grafana/src/<folder>/<uid>.yml becomes grafana/dashboards/<folder>/<uid>.json, and docs/runbooks/<Alert>.md a dashboard
of its own in folder runbooks."""

import json
import re

from .panels import POSTGRES, PROMETHEUS, SIZES, dashboard_link, panel_json
from .sources import Mistake, Source, title_of

SCHEMA_VERSION = 41
WIDTH = 120
DASHBOARD_WORDS = set("title about tags since refresh variables links annotations rows".split())
RUNBOOKS = "runbooks"


def canonical(value, indent=0, lead=0):
    """The one form of the files: two spaces, and on one line what fits there. Ends with a newline."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or (indent and indent + lead + len(flat) < WIDTH):
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        items = [
            f"{json.dumps(k, ensure_ascii=False)}: {canonical(v, indent + 2, len(k) + 4)}" for k, v in value.items()
        ]
    else:
        items = [canonical(v, indent + 2) for v in value]
    brackets = "{}" if isinstance(value, dict) else "[]"
    text = brackets[0] + "\n" + ",\n".join(inner + item for item in items) + "\n" + " " * indent + brackets[1]
    return text if indent else text + "\n"


def datasource_variable(name):
    plugin, label, uid, title = {
        "datasource": ("prometheus", "Prometheus", "prometheus", "Prometheus"),
        "postgres": ("grafana-postgresql-datasource", "PostgreSQL", "postgres-marts", "PostgreSQL marts"),
    }[name]
    return {
        "name": name,
        "type": "datasource",
        "label": label,
        "query": plugin,
        "current": {"text": title, "value": uid},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


def query_variable(name, words):
    """`promql: label_values(...)` or `sql: select ...`; `many: true` gives All and several values."""
    many = bool(words.get("many"))
    made = {"name": name, "type": "query", "label": words["label"]}
    if "about" in words:
        made["description"] = words["about"]
    if "sql" in words:
        made.update({"datasource": POSTGRES, "definition": words["sql"].strip(), "query": words["sql"].strip()})
    else:
        text = words["promql"].strip()
        query = {"qryType": 1, "query": text, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
        made.update({"datasource": PROMETHEUS, "definition": text, "query": query})
    made.update(
        {
            "current": {"text": ["All"], "value": ["$__all"]} if many else {"text": "", "value": ""},
            "hide": 0,
            "includeAll": many,
            "multi": many,
            "options": [],
            "refresh": 2,
            "regex": "",
            "skipUrlSync": False,
            "sort": 0 if "sql" in words else 1,
        }
    )
    if "all" in words:
        made["allValue"] = words["all"]
    return made


def annotations(names, common):
    made = [
        {
            "builtIn": 1,
            "name": "Annotations & Alerts",
            "type": "dashboard",
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
        }
    ]
    for name in names:
        words = common["annotations"][name]
        made.append(
            {
                "name": words["title"],
                "datasource": PROMETHEUS,
                "enable": True,
                "iconColor": words["colour"],
                "target": {"refId": "Anno", "expr": words["promql"].strip()},
                "titleFormat": words["text"],
                "tagKeys": ",".join(words.get("tags", [])),
            }
        )
    return {"list": made}


def links(uids, titles, abouts):
    made = [
        {
            "type": "dashboards",
            "title": "Acequia",
            "url": "",
            "tooltip": "All dashboards of the platform",
            "icon": "external link",
            "tags": ["acequia"],
            "asDropdown": True,
            "includeVars": False,
            "keepTime": True,
            "targetBlank": False,
        }
    ]
    for uid in uids:
        if uid not in titles:
            raise Mistake(f"links: there is no dashboard {uid}")
        made.append(dashboard_link(titles[uid], f"/d/{uid}", abouts[uid]))
    return made


def size_of(panel, kind):
    if "size" not in panel:
        return SIZES[kind]
    width, _, height = str(panel["size"]).partition("x")
    return int(width), int(height)


def lines_of(panels):
    """Panels flow from left to right, as words do, in lines of 24 columns that they fill: [[(panel, width, height)]]."""
    runs = []
    for panel in panels:
        size = size_of(panel, title_of(panel)[0])
        if runs and runs[-1][0] == size:
            runs[-1][1].append(panel)
        else:
            runs.append((size, [panel]))
    lines, free = [], 0
    for (w, h), run in runs:
        while run:
            if w > free:
                lines.append([])
                free = 24
            fit = free // w
            # As many in each of the lines that equal panels take, so that the last is not a lonely one.
            if not lines[-1] and len(run) > fit:
                fit = -(-len(run) // -(-len(run) // fit))
            lines[-1] += [(panel, w, h) for panel in run[:fit]]
            free = 0 if len(run) > fit else free - w * len(run[:fit])
            run = run[fit:]
    made = []
    for line in lines:
        rest, high = 24 - sum(w for _, w, _ in line), max(h for _, _, h in line)
        share, more = divmod(rest, len(line))
        made.append([(panel, w + share + (n < more), high) for n, (panel, w, _) in enumerate(line)])
    return made


def place(rows, titles):
    """Each row with its panels in lines; a row that is collapsed holds its panels."""
    made, number, top = [], 0, 0
    for row in rows:
        number += 1
        heading = {"id": number, "type": "row", "title": row["row"], "collapsed": bool(row.get("collapsed"))}
        heading.update({"gridPos": {"x": 0, "y": top, "w": 24, "h": 1}, "panels": []})
        made.append(heading)
        y = top + 1
        for line in lines_of(row["panels"]):
            x = 0
            for panel, w, h in line:
                number += 1
                body = {"id": number, **panel_json(panel, titles), "gridPos": {"x": x, "y": y, "w": w, "h": h}}
                (heading["panels"] if heading["collapsed"] else made).append(body)
                x += w
            y += h
        top = top + 1 if heading["collapsed"] else y
    return made


def uses(value, name):
    text = json.dumps(value)
    return f"${{{name}}}" in text or f"${name}" in text


def dashboard(source, common, titles, abouts):
    text = source.text
    unknown = set(text) - DASHBOARD_WORDS
    if unknown:
        raise Mistake(f"unknown {', '.join(sorted(unknown))}")
    variables = []
    for words in text.get("variables", []):
        if isinstance(words, dict):
            variables.append(query_variable(words["name"], words))
        else:
            variables.append(query_variable(words, common["variables"][words]))
    marks = annotations(text.get("annotations", list(common["annotations"])), common)
    panels = place(text["rows"], titles)
    sources = [name for name in ("datasource", "postgres") if uses([variables, marks, panels], name)]
    return {
        "uid": source.uid,
        "id": None,
        "title": text["title"],
        "description": " ".join(text["about"].split()),
        "tags": ["acequia", *text.get("tags", [])],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "timezone": "browser",
        "weekStart": "",
        "refresh": text.get("refresh", "30s"),
        "time": {"from": text.get("since", "now-1h"), "to": "now"},
        "timepicker": {},
        "links": links(text.get("links", []), titles, abouts),
        "annotations": marks,
        "templating": {"list": [datasource_variable(name) for name in sources] + variables},
        "panels": panels,
    }


def links_in_grafana(text):
    """Links between pages of docs/runbooks become links between dashboards; of other files the path is enough."""
    text = re.sub(r"\]\((\w+)\.md\)", r"](/d/runbook-\1)", text)
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)", r"\1 (docs/\2)", text)


def runbook(name, text, alert):
    """A runbook as a dashboard, so that whoever comes from an alert list stays in Grafana."""
    heading, _, body = text.partition("\n")
    about = alert.annotations.get("description", "") if alert else ""
    words = {
        "title": f"Runbook {heading.lstrip('# ').strip()}",
        "about": f"What to do when {name} fires. {' '.join(about.split())}".strip(),
        "tags": ["runbook"],
        "since": "now-6h",
        "refresh": "1m",
        "annotations": [],
        "links": ["pipeline-overview"],
        "rows": [
            {
                "row": "Alert",
                "panels": [
                    {
                        "state-timeline": "When it was pending and when it fired",
                        "about": "Each line is one thing that the alert speaks of; none when it was quiet.",
                        "unit": "none",
                        "thresholds": "orange, 2 red",
                        "no_value": "quiet all the time",
                        "size": "24x5",
                        "mappings": {1: "orange pending", 2: "red FIRING"},
                        "promql": (
                            f'max without (alertstate) (ALERTS{{alertname="{name}",alertstate="pending"}}'
                            f' or 2 * ALERTS{{alertname="{name}",alertstate="firing"}})'
                        ),
                    },
                    {
                        "text": "What to do",
                        "about": f"docs/runbooks/{name}.md.",
                        "size": "24x18",
                        "markdown": links_in_grafana(body.strip()),
                    },
                ],
            }
        ],
    }
    return Source(f"runbook-{name}", RUNBOOKS, words)


def build(sources):
    """{path below grafana/dashboards: text}."""
    titles = {source.uid: source.text.get("title") for source in sources.dashboards}
    abouts = {source.uid: " ".join(str(source.text.get("about", "")).split()) for source in sources.dashboards}
    made = {}
    for source in sources.dashboards:
        try:
            made[f"{source.folder}/{source.uid}.json"] = canonical(dashboard(source, sources.common, titles, abouts))
        except (KeyError, Mistake) as error:
            raise Mistake(f"grafana/src/{source.folder}/{source.uid}.yml: {error}") from None
    for name, text in sources.runbooks.items():
        source = runbook(name, text, sources.alerts.get(name))
        made[f"{RUNBOOKS}/{source.uid}.json"] = canonical(dashboard(source, sources.common, titles, abouts))
    return made
