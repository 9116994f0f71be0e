"""What can be found without servers: whether the files are what the sources say, structure, style, variables, links."""

import json
import re

from .build import SCHEMA_VERSION, build
from .lint_queries import lint_query
from .model import PLUGINS, name_of, panels_of, queries_of, strings_in, variables_in
from .sources import Mistake

PANEL_TYPES = set("alertlist barchart gauge heatmap piechart row stat state-timeline table text timeseries".split())
WITHOUT_FIELDS = {"alertlist", "text"}
# Grafana shows any other text behind the number, so a slip would go unnoticed.
UNITS = set(
    """none string short percent percentunit locale sci bool bool_yes_no bool_on_off
    bytes decbytes kbytes mbytes gbytes Bps binBps bps currencyUSD currencyMXN currencyEUR
    dateTimeAsIso dateTimeAsIsoNoDateIfToday dateTimeFromNow time:YYYY-MM-DD
    ns µs ms s m h d dtdurations dtdhms cps ops reqps rps wps iops eps mps recps rowsps cpm opm
    kwatth watt celsius humidity lengthm lengthkm velocitykmh velocityms degree volt litre massg masskg""".split()
)
# Grafana ignores what it does not know, so a slip would go unnoticed here, too.
KEYS = {
    "dashboard": """uid id title description tags schemaVersion version editable graphTooltip fiscalYearStartMonth
        timezone weekStart refresh time timepicker links annotations templating panels""",
    "panel": """id type title description gridPos datasource targets fieldConfig options links transformations collapsed
        panels""",
    "target": "refId editorMode expr legendFormat instant range format rawQuery rawSql",
    "defaults": "unit decimals min max noValue thresholds color mappings links custom",
    "variable": """name type label description query definition datasource current hide includeAll multi options refresh
        regex skipUrlSync sort allValue""",
}
KEYS = {what: set(keys.split()) for what, keys in KEYS.items()}


def lint(project):
    """Every fault that shows without servers, and the dashboards."""
    faults, dashboards = list(project.mistakes), []
    folder = project.root / "grafana/dashboards"
    for file in sorted(folder.rglob("*.json")):
        name = str(file.relative_to(project.root))
        try:
            dashboard = json.loads(file.read_text())
        except ValueError as error:
            faults.append(f"{name}: not valid JSON: {error}")
            continue
        dashboards.append(dashboard)
        say = lambda text, name=name: faults.append(f"{name}: {text}")  # noqa: E731
        if dashboard.get("uid") != file.stem:
            say(f"uid is {dashboard.get('uid')!r}, the file's name says {file.stem!r}")
        if file.parent == folder:
            say("must be in a subfolder: it becomes the folder in Grafana")
        lint_frame(dashboard, say)
        lint_panels(dashboard, project, say)
        lint_grid(dashboard, say)
        lint_fresh(dashboard, say)
        lint_variables(dashboard, project, say)
        for query in queries_of(dashboard):
            lint_query(query, dashboard, project, lambda text, query=query, say=say: say(f"{query.owner}: {text}"))
    if not dashboards and not faults:
        faults.append("grafana/dashboards: no dashboards")
    for key in ("uid", "title"):
        values = [dashboard.get(key) for dashboard in dashboards]
        faults += [
            f"{key} {value!r} is used twice" for value in sorted({str(v) for v in values if values.count(v) > 1})
        ]
    lint_links(dashboards, faults.append)
    lint_rules(project, faults.append)
    if project.sources:
        lint_drift(project, faults.append)
        lint_reasons(project, dashboards, faults.append)
        lint_alerts(project, dashboards, faults.append)
    return faults, dashboards


def lint_keys(what, thing, say):
    for key in sorted(set(thing) - KEYS[what]):
        say(f"{key} is no key of a {what} here: a slip, or KEYS in scripts/dashboards/lint.py lacks it")


def lint_frame(dashboard, say):
    lint_keys("dashboard", dashboard, say)
    wanted = {"id": None, "schemaVersion": SCHEMA_VERSION, "editable": False, "graphTooltip": 1, "timezone": "browser"}
    for key, value in wanted.items():
        if key not in dashboard or dashboard[key] != value:
            say(f"{key} must be {json.dumps(value)}")
    for key in ("title", "description", "refresh", "time", "tags", "links"):
        if not dashboard.get(key):
            say(f"{key} is missing")
    if "acequia" not in dashboard.get("tags", []):
        say("tag acequia is missing: the dashboards find each other by it")
    if not re.fullmatch(r"[\w-]{1,40}", str(dashboard.get("uid"))):
        say("uid must have 1 to 40 letters, digits, - or _")
    for text in strings_in(dashboard):
        for host in re.findall(r"https?://(?![A-Z])[^\s)\"'>]+|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b", text):
            say(f"names a host: {host}")


def lint_panels(dashboard, project, say):
    ids, titles = [], []
    for panel in panels_of(dashboard):
        here = lambda text, panel=panel: say(f"{name_of(panel)}: {text}")  # noqa: E731
        ids.append(panel.get("id"))
        kind = panel.get("type")
        lint_keys("panel", panel, here)
        if kind not in PANEL_TYPES:
            here(f"type {kind!r} is not in use here; known: {', '.join(sorted(PANEL_TYPES))}")
        if not panel.get("title"):
            here("has no title")
        elif "$" in panel["title"]:
            here("its title has a variable, which pictures and links show raw: name it in words")
        if kind == "row":
            if panel.get("panels") and not panel.get("collapsed"):
                here("holds panels although it is not collapsed: Grafana would lose them")
            continue
        titles.append(panel.get("title"))
        if not panel.get("description"):
            here("has no description: what, why it matters, what to do")
        elif len(re.findall(r"[.!?](?=\s|$)", panel["description"])) > 3:
            here("its description has more than three sentences")
        if kind == "alertlist" and panel.get("options", {}).get("datasource") not in project.datasource_names:
            here("its datasource must be the name of a provisioned one")
        if kind == "text":
            for link in re.findall(r"\]\((?!/d/)([^)]*)\)", panel["options"]["content"]):
                here(f"links to {link}, which is no page of Grafana")
        if kind in WITHOUT_FIELDS:
            continue
        lint_fields(panel, here)
        lint_datasource(panel.get("datasource"), here)
        lint_targets(panel, here)
    for what, values in (("panel id", ids), ("panel title", titles)):
        for value in sorted({str(v) for v in values if values.count(v) > 1}):
            say(f"{what} {value!r} is used twice")
        if None in values:
            say(f"a {what} is missing")


def lint_targets(panel, say):
    targets = panel.get("targets") or []
    if not targets:
        say("has no target")
    refs = [target.get("refId") for target in targets]
    if None in refs or len(set(refs)) != len(refs):
        say(f"the refIds of its targets must be there and differ: {refs}")
    for target in targets:
        lint_keys("target", target, say)
        if not (target.get("expr") or target.get("rawSql")):
            say(f"target {target.get('refId')} has no query")


def lint_fields(panel, say):
    config = panel.get("fieldConfig", {})
    defaults = config.get("defaults", {})
    lint_keys("defaults", defaults, say)
    if not defaults.get("unit"):
        say("has no unit")
    if not defaults.get("noValue"):
        say("has no noValue text: what an empty result means")
    if not defaults.get("thresholds"):
        say("has no thresholds (one step is enough where there is no limit)")
    properties = [
        (item.get("id"), item.get("value"))
        for override in config.get("overrides", [])
        for item in override.get("properties", [])
    ]
    for unit in [defaults.get("unit")] + [value for key, value in properties if key == "unit"]:
        if unit and unit not in UNITS:
            say(f"unit {unit!r} is not one of the known ones (see UNITS in scripts/dashboards/lint.py)")
    for thresholds in [defaults.get("thresholds")] + [value for key, value in properties if key == "thresholds"]:
        if not thresholds:
            continue
        values = [step.get("value") for step in thresholds.get("steps", [])]
        if not values or values[0] is not None or None in values[1:]:
            say("thresholds: the first step, and only it, has the value null")
        elif any(low >= high for low, high in zip(values[1:], values[2:])):
            say(f"thresholds do not ascend: {values[1:]}")
    whole = defaults.get("decimals") == 0 and "max" not in defaults
    if panel.get("type") in ("timeseries", "barchart") and defaults.get("unit") in ("percent", "percentunit") and whole:
        say("an axis of percents without decimals and without a max may read 0 %, 0 %, 0 %: drop decimals")
    if panel.get("type") == "timeseries" and defaults.get("custom", {}).get("spanNulls") is not False:
        say("custom.spanNulls must be false: a gap is information")


def lint_datasource(datasource, say):
    kind = (datasource or {}).get("type")
    wanted = {"prometheus": "${datasource}", "grafana-postgresql-datasource": "${postgres}"}.get(kind)
    if not wanted:
        say(f"datasource type {kind!r} must be one of {', '.join(PLUGINS)}")
    elif datasource.get("uid") != wanted:
        say(f"its datasource must be the variable {wanted}, not {datasource.get('uid')!r}")


def lint_grid(dashboard, say):
    rows = [dashboard.get("panels", [])] + [panel.get("panels", []) for panel in dashboard.get("panels", [])]
    for group in rows:
        placed = []
        for panel in group:
            grid = panel.get("gridPos") or {}
            x, y, w, h = (grid.get(key) for key in "xywh")
            if not all(isinstance(value, int) and value >= 0 for value in (x, y, w, h)) or not w or not h or x + w > 24:
                say(f"{name_of(panel)}: gridPos must be whole numbers inside 24 columns: {grid}")
                continue
            for other, (ox, oy, ow, oh) in placed:
                if x < ox + ow and ox < x + w and y < oy + oh and oy < y + h:
                    say(f"{name_of(panel)} overlaps {name_of(other)}")
            placed.append((panel, (x, y, w, h)))
        lint_holes(placed, say)


def lint_holes(placed, say):
    """Every line of panels reaches the right edge, and its panels are equally high."""
    lines = {}
    for panel, (_, y, w, h) in placed:
        lines.setdefault(y, []).append((panel, w, h))
    for line in lines.values():
        panel, _, high = line[0]
        width = sum(w for _, w, _ in line)
        if width < 24:
            say(f"{name_of(panel)}: its line ends at column {width} of 24")
        for other, _, h in line:
            if h != high:
                say(f"{name_of(other)}: is {h} high, and {name_of(panel)} beside it {high}")


def lint_variables(dashboard, project, say):
    declared = {}
    for variable in dashboard.get("templating", {}).get("list", []):
        name = variable.get("name", "")
        here = lambda text, name=name: say(f"variable {name}: {text}")  # noqa: E731
        lint_keys("variable", variable, here)
        if name in declared:
            here("is declared twice")
        declared[name] = variable
        if not variable.get("label"):
            here("has no label")
        if variable.get("type") == "datasource":
            uid = (variable.get("current") or {}).get("value")
            if project.datasources.get(uid) != variable.get("query"):
                here(f"default {uid!r} is no provisioned datasource of type {variable.get('query')!r}")
        elif variable.get("type") == "query":
            lint_datasource(variable.get("datasource"), here)
            if variable.get("refresh") != 2:
                here("refresh must be 2: values change with the time range")
            if "sort" not in variable:
                here("sort is missing (0 where SQL orders, 1 for names)")
    builtin = {"type": "grafana", "uid": "-- Grafana --"}
    for annotation in dashboard.get("annotations", {}).get("list", []):
        if annotation.get("datasource") != builtin:
            lint_datasource(
                annotation.get("datasource"), lambda text, a=annotation: say(f"annotation {a.get('name')}: {text}")
            )
    # The text of a text panel is not checked: Grafana leaves names that it does not know.
    asked = [
        {**panel, "panels": [], "options": None if panel["type"] == "text" else panel.get("options")}
        for panel in panels_of(dashboard)
    ]
    used = {
        name
        for text in strings_in(
            [asked, dashboard.get("templating"), dashboard.get("annotations"), dashboard.get("links")]
        )
        for name, _ in variables_in(text)
    }
    for name in sorted(used - set(declared)):
        say(f"variable {name!r} is used and not declared")
    for name in sorted(set(declared) - used):
        say(f"variable {name!r} is declared and not used")


def lint_links(dashboards, say):
    variables = {
        dashboard.get("uid"): {variable.get("name") for variable in dashboard.get("templating", {}).get("list", [])}
        for dashboard in dashboards
    }
    for dashboard in dashboards:
        here = lambda text, dashboard=dashboard: say(f"{dashboard.get('uid')}: {text}")  # noqa: E731
        for link in dashboard.get("links", []):
            if link.get("type") == "dashboards":
                tags = set(link.get("tags", []))
                if not any(tags <= set(other.get("tags", [])) for other in dashboards if other is not dashboard):
                    here(f"link {link.get('title')!r} finds no other dashboard by {sorted(tags)}")
        for text in strings_in(dashboard):
            for uid, query in re.findall(r"(?:^|[\s(\"'])/d/([^/?\s)\"']+)(\?\S*)?", text):
                # A uid that comes from the data cannot be known here: those of alerts are in lint_alerts, those of
                # domains in the drift test of the worker.
                if "$" in uid:
                    continue
                if uid not in variables:
                    here(f"link to /d/{uid}, which is no dashboard")
                    continue
                for name in re.findall(r"[?&]var-(\w+)=", query):
                    if name not in variables[uid]:
                        here(f"link to /d/{uid} sets variable {name}, which is not there")


def lint_rules(project, say):
    for file in project.rules():
        text = re.sub(r"#.*", "", file.read_text())
        for name in sorted(set(re.findall(r"(?<![:\w])(acequia_[a-z0-9_]+)(?![:\w])", text))):
            if not project.has_metric(name):
                say(f"{file.relative_to(project.root)}: metric {name} is not in prometheus/metrics.yml")


def lint_drift(project, say):
    """The committed files are what the sources say, no more and no less."""
    folder = project.root / "grafana/dashboards"
    try:
        wanted = build(project.sources)
    except Mistake as mistake:
        say(str(mistake))
        return
    there = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.json")}
    for name in sorted(set(wanted) | set(there)):
        if wanted.get(name) != there.get(name):
            what = "has no source" if name not in wanted else "is not there" if name not in there else "is not current"
            say(f"grafana/dashboards/{name} {what}: run scripts/check_dashboards.py --build")


def lint_reasons(project, dashboards, say):
    """A reason for an empty result speaks of something that is there."""
    owners = {(query.uid, query.owner) for dashboard in dashboards for query in queries_of(dashboard)}
    for source in project.sources.dashboards:
        for owner in source.may_be_empty:
            if not owner.startswith("annotation ") and (source.uid, owner) not in owners:
                say(f"{source.uid}: may_be_empty of {owner!r}, which has no query")


def lint_fresh(dashboard, say):
    """A mart that lacks messages is not simply green."""
    for query in queries_of(dashboard):
        text = query.target.get("rawSql", "")
        shown = json.dumps((query.panel or {}).get("fieldConfig", {}))
        if '"text": "fresh"' in shown and "missing" not in text:
            say(f"{query.owner}: shows fresh in green and never looks at missing")


def lint_alerts(project, dashboards, say):
    """Whoever comes from an alert finds a runbook, and a dashboard with a panel that explains it; and the other way."""
    uids = {dashboard.get("uid") for dashboard in dashboards}
    explained = {}
    for source in project.sources.dashboards:
        for panel, names in source.alerts.items():
            for name in names:
                explained.setdefault(name, set()).add(source.uid)
                if name not in project.sources.alerts:
                    say(f"{source.uid}: panel {panel!r} names the alert {name}, which is not in prometheus/rules")
    for name, alert in project.sources.alerts.items():
        if f"runbook-{name}" not in uids:
            say(f"alert {name} has no runbook dashboard: docs/runbooks/{name}.md is missing")
        if name not in explained:
            say(f"alert {name} is explained by no panel (alerts: in grafana/src)")
            continue
        url = alert.annotations.get("dashboard_url", "")
        link = re.fullmatch(r"/d/([\w-]+)", url)
        if not (link and link[1] in uids):
            say(f"alert {name}: its dashboard_url leads to no dashboard: {url!r}")
        elif link[1] not in explained[name]:
            say(f"alert {name}: its dashboard_url leads to {link[1]}, where no panel explains it")
