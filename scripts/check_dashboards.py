#!/usr/bin/env python3
"""Checks the Grafana dashboards. Needs Python 3.9 or newer, nothing else; with --postgres also psql.

Without options: reads grafana/, prometheus/rules, sql/ and worker/src, and finds what can be found without
servers: broken structure, style, variables, links, metric names the worker does not have, tables the analyst may not
read. With --prometheus and --postgres it also runs every query of every panel, variable and annotation, expanded as
Grafana does it: against Prometheus, and in PostgreSQL as the role of the URL (take the analyst's, Grafana uses it).

Exit codes: 0 nothing found, 1 faults found, 2 usage, or a server does not answer.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_VERSION = 41
WIDTH = 120

# Results that may be empty on a healthy platform with data, (dashboard, panel or variable or annotation): why.
EMPTY_IS_FINE = {
    ("pipeline-overview", "End-to-end p95"): "no promotion in the last minute",
    ("pipeline-overview", "End-to-end p50, p95, p99"): "no promotion in the last minutes",
    ("pipeline-overview", "Batch size"): "no batch in the last minutes",
    ("pipeline-overview", "Duration of the steps, p95"): "a step that had nothing to do has no duration",
    ("pipeline-overview", "Quarantined by code"): "only codes that occur are shown",
    ("pipeline-overview", "Retries and failures"): "a mart that never failed has no counter yet",
    ("pipeline-overview", "annotation Firing alerts"): "no alert fires",
    ("pipeline-overview", "annotation Worker starts"): "no worker was started in the last minutes",
    ("academico", "Teacher ranking"): "needs a teacher with 30 marks",
    ("academico", "Students at risk, worst first"): "nobody is at risk",
    ("academico", "Students at risk by period"): "nobody is at risk",
    ("academico", "Rules that did not pass"): "every rule passed",
    ("academico", "Failing rows by rule"): "every rule passed",
}
# Metrics that Prometheus may not know yet, and why.
ABSENT_IS_FINE = {
    "ALERTS": "exists only while an alert is pending or fires",
}

PANEL_TYPES = set(
    """barchart bargauge gauge heatmap histogram piechart row stat state-timeline status-history table text
    timeseries""".split()
)
# Grafana shows any other text behind the number, so a slip would go unnoticed.
UNITS = set(
    """none string short percent percentunit locale sci bool bool_yes_no bool_on_off
    bytes decbytes kbytes mbytes gbytes Bps binBps bps currencyUSD currencyMXN currencyEUR
    dateTimeAsIso dateTimeAsIsoNoDateIfToday dateTimeFromNow time:YYYY-MM-DD
    ns µs ms s m h d dtdurations dtdhms cps ops reqps rps wps iops eps mps recps rowsps cpm opm
    celsius humidity lengthm lengthkm velocitykmh velocityms degree volt litre massg masskg""".split()
)
FORMATS = {"sqlstring", "regex", "pipe", "csv", "raw"}
MACROS = {
    "__" + name for name in "timeFilter timeFrom timeTo timeGroup timeGroupAlias time interval interval_ms".split()
}
PLUGINS = {"prometheus": "prometheus", "grafana-postgresql-datasource": "postgres"}
COUNTER = re.compile(r"_(total|bucket|sum|count)$")
VARIABLE = re.compile(
    r"\$\{(?P<braced>\w+)(?P<path>\.[\w.]+)?(?::(?P<format>[^}]+))?\}|\$(?P<plain>\w+)|\[\[(?P<old>\w+)[^\]]*\]\]"
)


# --- What is known about the project -----------------------------------------------------------------------------


@dataclass
class Project:
    """The files that the dashboards have to agree with."""

    root: Path
    metrics: set = field(default_factory=set)
    readable: set = field(default_factory=set)
    datasources: dict = field(default_factory=dict)

    def __post_init__(self):
        source = "".join(file.read_text() for file in sorted((self.root / "worker/src").glob("*.rs")))
        self.metrics = set(re.findall(r'"(acequia_[a-z0-9_]+)"', source))
        for file in sorted((self.root / "sql").rglob("*.sql")):
            text = re.sub(r"--.*", "", file.read_text())
            self.readable |= set(
                re.findall(r"create (?:or replace )?(?:materialized )?(?:view|table|function) (marts\.\w+)", text)
            )
            for names in re.findall(r"grant select on ([\w., \n]+?) to acequia_analyst", text):
                self.readable |= {name.strip() for name in names.split(",") if "." in name}
        for file in sorted((self.root / "grafana/provisioning/datasources").glob("*.yaml")):
            for block in file.read_text().split("- name:")[1:]:
                uid, kind = (re.search(rf"^\s+{key}: (\S+)", block, re.M) for key in ("uid", "type"))
                if uid and kind:
                    self.datasources[uid[1]] = kind[1]

    def has_metric(self, name):
        return name in self.metrics or re.sub(r"_(bucket|sum|count)$", "", name) in self.metrics


@dataclass
class Query:
    """One query of a panel, a variable or an annotation."""

    uid: str
    owner: str
    kind: str  # prometheus or postgres
    text: str
    panel: dict = field(default_factory=dict)
    target: dict = field(default_factory=dict)

    @property
    def where(self):
        ref = self.target.get("refId")
        return f"{self.uid}: {self.owner}" + (f" [{ref}]" if ref and self.panel else "")


def panels_of(dashboard):
    """Every panel, rows too, those inside collapsed rows too."""
    for panel in dashboard.get("panels", []):
        yield panel
        yield from panel.get("panels", [])


def name_of(panel):
    return f'panel {panel.get("id", "?")} "{panel.get("title", "")}"'


def kind_of(thing):
    return PLUGINS.get((thing.get("datasource") or {}).get("type"), "")


def queries_of(dashboard):
    uid = dashboard.get("uid", "?")
    for variable in dashboard.get("templating", {}).get("list", []):
        if variable.get("type") == "query":
            query = variable.get("query", "")
            text = query.get("query", "") if isinstance(query, dict) else query
            yield Query(uid, f"variable {variable.get('name')}", kind_of(variable), text)
    for annotation in dashboard.get("annotations", {}).get("list", []):
        text = (annotation.get("target") or {}).get("expr")
        if text:
            yield Query(uid, f"annotation {annotation.get('name')}", kind_of(annotation), text)
    for panel in panels_of(dashboard):
        for target in panel.get("targets", []):
            text = target.get("expr") or target.get("rawSql") or ""
            yield Query(uid, panel.get("title", ""), kind_of(panel), text, panel, target)


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


# --- Texts of queries --------------------------------------------------------------------------------------------


def without_strings(text):
    return re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:''|[^'])*'|`[^`]*`", "''", text)


def balanced(text):
    open_ones, pairs = [], {")": "(", "]": "[", "}": "{"}
    bare = without_strings(text)
    for char in bare:
        if char in "([{":
            open_ones.append(char)
        elif char in pairs and (not open_ones or open_ones.pop() != pairs[char]):
            return False
    return not open_ones and "'" not in bare.replace("''", "") and '"' not in bare


def metric_names(expression):
    bare = without_strings(expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\$\w+", " ", bare)
    words = re.findall(r"(?<![\w.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])", bare)
    keywords = {
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "by",
        "without",
        "inf",
        "nan",
    }
    return {word for word in words if word.lower() not in keywords}


def names_in_query(query):
    """Metric names in a PromQL expression or in a query of a Prometheus variable."""
    call = re.fullmatch(r"label_values\((?:(.+),)?\s*\w+\s*\)", query.text.strip())
    if query.owner.startswith("variable "):
        return metric_names(call[1]) if call and call[1] else set()
    return metric_names(query.text)


def variables_in(text):
    """(name, format) of every variable, Grafana's own (__x) left out."""
    for match in VARIABLE.finditer(text):
        name = match["braced"] or match["plain"] or match["old"]
        if not name.startswith("__"):
            yield name, match["format"]


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            # A description may speak of "$x"; a regex variable of `$` at its end does not count either.
            if key not in ("description", "regex"):
                yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


# --- Lint --------------------------------------------------------------------------------------------------------


def lint(project):
    """Every fault that shows without servers, and the dashboards."""
    faults, dashboards = [], []
    folder = project.root / "grafana/dashboards"
    for file in sorted(folder.rglob("*.json")):
        name = str(file.relative_to(project.root))
        try:
            text = file.read_text()
            dashboard = json.loads(text)
            if text != canonical(dashboard):
                faults.append(f"{name}: not in the form that scripts/check_dashboards.py --format gives it")
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
    return faults, dashboards


def lint_frame(dashboard, say):
    wanted = {"id": None, "schemaVersion": SCHEMA_VERSION, "editable": False, "graphTooltip": 1, "timezone": "browser"}
    for key, value in wanted.items():
        if key not in dashboard or dashboard[key] != value:
            say(f"{key} must be {json.dumps(value)}")
    for key in ("title", "description", "refresh", "time", "tags", "links"):
        if not dashboard.get(key):
            say(f"{key} is missing")
    if "acequia" not in dashboard.get("tags", []):
        say("tag acequia is missing: the dashboards find each other by it")
    for key in ("__inputs", "__requires", "__elements", "gnetId", "iteration"):
        if key in dashboard:
            say(f"{key} does not belong into a provisioned dashboard")


def lint_panels(dashboard, project, say):
    ids, titles = [], []
    for panel in panels_of(dashboard):
        here = lambda text, panel=panel: say(f"{name_of(panel)}: {text}")  # noqa: E731
        ids.append(panel.get("id"))
        kind = panel.get("type")
        if kind not in PANEL_TYPES:
            here(f"type {kind!r} is not in use here; known: {', '.join(sorted(PANEL_TYPES))}")
        if not panel.get("title"):
            here("has no title")
        if kind == "row":
            if panel.get("panels") and not panel.get("collapsed"):
                here("holds panels although it is not collapsed: Grafana would lose them")
            continue
        titles.append(panel.get("title"))
        if not panel.get("description"):
            here("has no description: what, why it matters, what to do")
        elif len(re.findall(r"[.!?](?=\s|$)", panel["description"])) > 3:
            here("its description has more than three sentences")
        if kind == "text":
            continue
        lint_fields(panel, here)
        lint_datasource(panel.get("datasource"), here)
        targets = panel.get("targets") or []
        if not targets:
            here("has no target")
        refs = [target.get("refId") for target in targets]
        if None in refs or len(set(refs)) != len(refs):
            here(f"the refIds of its targets must be there and differ: {refs}")
        for target in targets:
            if target.get("hide"):
                here(f"target {target.get('refId')} is hidden")
            if "datasource" in target and target["datasource"] != panel.get("datasource"):
                here(f"target {target.get('refId')} has another datasource than its panel")
            if not (target.get("expr") or target.get("rawSql")):
                here(f"target {target.get('refId')} has no query")
    for what, values in (("panel id", ids), ("panel title", titles)):
        for value in sorted({str(v) for v in values if values.count(v) > 1}):
            say(f"{what} {value!r} is used twice")
        if None in values:
            say(f"a {what} is missing")


def lint_fields(panel, say):
    config = panel.get("fieldConfig", {})
    defaults = config.get("defaults", {})
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
            say(f"unit {unit!r} is not one of the known ones (see UNITS in scripts/check_dashboards.py)")
    for thresholds in [defaults.get("thresholds")] + [value for key, value in properties if key == "thresholds"]:
        if not thresholds:
            continue
        values = [step.get("value") for step in thresholds.get("steps", [])]
        if not values or values[0] is not None or None in values[1:]:
            say("thresholds: the first step, and only it, has the value null")
        elif any(low >= high for low, high in zip(values[1:], values[2:])):
            say(f"thresholds do not ascend: {values[1:]}")
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


def lint_variables(dashboard, project, say):
    declared = {}
    for variable in dashboard.get("templating", {}).get("list", []):
        name = variable.get("name", "")
        here = lambda text, name=name: say(f"variable {name}: {text}")  # noqa: E731
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
    used = {name for text in strings_in(dashboard) for name, _ in variables_in(text)}
    for name in sorted(used - set(declared)):
        say(f"variable {name!r} is used and not declared")
    for name in sorted(set(declared) - used):
        say(f"variable {name!r} is declared and not used")


def lint_query(query, dashboard, project, say):
    declared = {variable.get("name"): variable for variable in dashboard.get("templating", {}).get("list", [])}
    if not query.text:
        return
    if not balanced(query.text):
        say(f"brackets or quotes are not balanced: {' '.join(query.text.split())[:80]}")
    if query.kind == "prometheus":
        lint_promql(query, declared, project, say)
    elif query.kind == "postgres":
        lint_sql(query, declared, project, say)


def lint_promql(query, declared, project, say):
    text = query.text
    if "__name__" in text:
        say("names a metric by a pattern: functions drop the name, and different series become one")
    for name in sorted(names_in_query(query)):
        if name.startswith("acequia_") and not project.has_metric(name):
            say(f"metric {name} is not in worker/src")
    for operator, name in re.findall(r"\w\s*(=~|!~|!=|=)\s*\"\$\{?(\w+)\}?\"", text):
        variable = declared.get(name, {})
        if (variable.get("multi") or variable.get("includeAll")) and operator in ("=", "!="):
            say(f"${name} can have several values: match it with =~")
    if query.owner.startswith("variable "):
        return
    bare = re.sub(r"\{[^}]*\}", "", re.sub(r"\"(?:\\.|[^\"\\])*\"", '""', text))
    for function, name, window in re.findall(r"\b(rate|irate|increase)\s*\(\s*([\w:]*)\s*(?:\[([^\]]*)\])?", bare):
        allowed = ("$__rate_interval", "$__range") if function == "increase" else ("$__rate_interval",)
        if window not in allowed:
            say(f"{function}({name}[{window}]): the window must be {' or '.join(allowed)}")
        if not COUNTER.search(name):
            say(f"{function}({name}) of something that is not a counter")
    for match in re.finditer(r"[a-zA-Z_:][\w:]*", bare):
        if COUNTER.search(match[0]) and not re.search(
            r"\b(rate|irate|increase|changes|resets)\s*\(\s*$", bare[: match.start()]
        ):
            say(f"counter {match[0]} without rate or increase")


def lint_sql(query, declared, project, say):
    text = query.text
    for name, form in variables_in(text):
        variable = declared.get(name, {})
        if form not in FORMATS:
            say(f"write ${{{name}:sqlstring}}: how Grafana quotes a bare ${name} depends on its version")
        elif variable.get("allValue"):
            say(f"variable {name} has an allValue, which would be put into the SQL as it is")
    for macro in re.findall(r"\$(__\w+)", text):
        if macro not in MACROS:
            say(f"macro ${macro} is not known")
    bare = without_strings(re.sub(r"--[^\n]*", "", text)).lower()
    if not re.match(r"\s*(select|with)\b", bare) or ";" in bare:
        say("must be one select")
    if "\\" in bare:
        say("a backslash outside a string would be a command of psql")
    if re.search(r"\b(insert\s+into|delete\s+from|update\s+\w|truncate|drop|alter|create|grant|copy|into)\b", bare):
        say("must only read")
    # `extract(epoch from x)` and `is distinct from` name no table.
    tables = re.sub(r"\bextract\s*\(\s*\w+\s+from\b|\bdistinct\s+from\b", " ", bare)
    known = {"generate_series", "unnest"} | set(
        re.findall(r"(?:\bwith|,)\s+(\w+)\s+as\s+(?:not\s+)?(?:materialized\s+)?\(", bare)
    )
    for name in re.findall(r"\b(?:from|join)\s+(?:lateral\s+)?([a-z_][\w.]*)", tables):
        if name not in known and name not in project.readable:
            say(f"{name} is not what acequia_analyst may read" if "." in name else f"{name} has no schema")
    if query.panel.get("type") == "timeseries" or query.target.get("format") == "time_series":
        if not re.search(r"\$__timeGroupAlias\(|\$__time\(|\bas\s+\"?time\b", text):
            say("a time series needs a column named time")
        if "order by" not in bare:
            say("a time series must be ordered by time")


def lint_links(dashboards, say):
    uids = {dashboard.get("uid") for dashboard in dashboards}
    for dashboard in dashboards:
        for link in dashboard.get("links", []):
            if link.get("type") == "dashboards":
                tags = set(link.get("tags", []))
                if not any(tags <= set(other.get("tags", [])) for other in dashboards if other is not dashboard):
                    say(
                        f"{dashboard.get('uid')}: link {link.get('title')!r} finds no other dashboard by {sorted(tags)}"
                    )
        for text in strings_in(dashboard):
            for uid in re.findall(r"(?:^|[\s(\"'])/d/([^/?\s)\"']+)", text):
                # A uid that comes from the data cannot be known here.
                if "$" not in uid and uid not in uids:
                    say(f"{dashboard.get('uid')}: link to /d/{uid}, which is no dashboard")


def lint_rules(project, say):
    for file in sorted((project.root / "prometheus/rules").glob("*.yml")):
        text = re.sub(r"#.*", "", file.read_text())
        for name in sorted(set(re.findall(r"\b(acequia_[a-z0-9_]+)", text))):
            if not project.has_metric(name):
                say(f"{file.relative_to(project.root)}: metric {name} is not in worker/src")


# --- Live --------------------------------------------------------------------------------------------------------


class Unreachable(Exception):
    """A server that was asked for does not answer."""


class Prometheus:
    """Runs PromQL over the last minutes, as a graph and as a single value."""

    RANGE, STEP = 600, 15

    def __init__(self, url):
        self.url = url.rstrip("/")
        self.names = set(self.get("/api/v1/label/__name__/values"))

    def get(self, path, **arguments):
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(arguments)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            try:
                message = json.load(error).get("error")
            except ValueError:
                message = str(error)
            raise ValueError(message) from None
        except (OSError, ValueError, KeyError) as error:
            raise Unreachable(f"Prometheus at {self.url}: {error}") from None

    def run(self, expression, instant):
        """Series as (labels, has a number)."""
        # As Grafana: $__rate_interval = max($__interval + scrape interval, 4 x scrape interval).
        window = max(self.STEP + 15, 4 * 15)
        for name, seconds in (("rate_interval", window), ("interval", self.STEP), ("range", self.RANGE)):
            expression = re.sub(rf"\$\{{?__{name}_ms\b\}}?", f"{seconds * 1000}", expression)
            expression = re.sub(rf"\$\{{?__{name}\b\}}?", f"{seconds}s", expression)
        now = datetime.datetime.now().timestamp()
        if instant:
            result = self.get("/api/v1/query", query=expression, time=now)["result"]
        else:
            result = self.get("/api/v1/query_range", query=expression, start=now - self.RANGE, end=now, step=self.STEP)[
                "result"
            ]
        if result and not isinstance(result[0], dict):  # a scalar
            return [({}, True)]
        return [
            (series["metric"], any(value != "NaN" for _, value in series.get("values") or [series["value"]]))
            for series in result
        ]

    def label_values(self, query):
        call = re.fullmatch(r"label_values\((?:(.+),)?\s*(\w+)\s*\)", query.strip())
        if not call:
            raise ValueError(f"only label_values(...) is understood here: {query}")
        matches = {"match[]": call[1]} if call[1] else {}
        return self.get(f"/api/v1/label/{call[2]}/values", **matches)


class Postgres:
    """Runs SQL read-only in psql."""

    SINCE = datetime.timedelta(days=7)
    # What Grafana shows as number, text, time or truth.
    TYPES = re.compile(
        r"(small|big)?int(eger)?$|double precision|real|text|character|name|boolean|date|timestamp|\"char\""
    )

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("postgres", "postgresql") or not parts.hostname:
            raise Unreachable(
                "--postgres must be a URL, as postgres://acequia_analyst:password@127.0.0.1:5432/payments"
            )
        unquote = urllib.parse.unquote
        # By environment: a password in the arguments would be seen by everybody.
        self.environment = {
            **os.environ,
            "PGHOST": parts.hostname,
            "PGPORT": str(parts.port or 5432),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": unquote(parts.path.lstrip("/")),
            "PGCONNECT_TIMEOUT": "5",
            "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=10s",
            "PGCLIENTENCODING": "UTF8",
        }
        try:
            self.rows("select 1")
        except ValueError as error:
            raise Unreachable(f"PostgreSQL: {error}") from None

    def psql(self, script):
        command = [
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--field-separator=\x1f",
            "--record-separator=\x1e",
            "--set=ON_ERROR_STOP=1",
        ]
        try:
            done = subprocess.run(
                command, input=script, env=self.environment, capture_output=True, text=True, timeout=60, check=False
            )
        except OSError as error:
            raise Unreachable(f"psql: {error}") from None
        except subprocess.TimeoutExpired:
            raise ValueError("no answer within 60 s") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise ValueError((lines or ["psql failed"])[0])
        # With its own record separator psql ends a result by a newline or not, depending on its version.
        return [record.split("\x1f") for record in done.stdout.rstrip("\n").split("\x1e") if record.strip("\n")]

    def rows(self, sql):
        return self.psql(sql + "\n;\n")

    def columns(self, sql):
        """(name, type) of each column; the query is not run."""
        return [(record[0].lstrip("\n"), record[1]) for record in self.psql(sql + "\n\\gdesc\n")]

    @classmethod
    def expand(cls, sql, interval=60):
        """Grafana's macros (pkg/tsdb/grafana-postgresql-datasource/macros.go)."""
        now = datetime.datetime.now(datetime.timezone.utc)
        since, until = (f"'{moment.isoformat().replace('+00:00', 'Z')}'" for moment in (now - cls.SINCE, now))
        sql = re.sub(r"\$\{?__interval_ms\}?", str(interval * 1000), sql)
        sql = re.sub(r"\$\{?__interval\b\}?", f"{interval}s", sql)

        def macro(match):
            name, arguments = match[1], [part.strip() for part in match[2].split(",")]
            if name == "__timeFilter":
                return f"{arguments[0]} BETWEEN {since} AND {until}"
            if name in ("__timeFrom", "__timeTo"):
                return since if name == "__timeFrom" else until
            if name == "__time":
                return f'{arguments[0]} AS "time"'
            if name in ("__timeGroup", "__timeGroupAlias"):
                number, unit = re.fullmatch(r"'?(\d+)([smhd])'?", arguments[1]).groups()
                seconds = int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
                return f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}" + (
                    ' AS "time"' if name.endswith("Alias") else ""
                )
            raise ValueError(f"unknown macro ${name}")

        # Grafana's own pattern: an argument cannot contain a closing bracket.
        return re.sub(r"\$(__\w+)\(([^)]*)\)", macro, sql)


class Values:
    """Values of a dashboard's variables: All where there is All, else the first."""

    def __init__(self):
        self.known = {}

    def set(self, variable, values):
        if not variable.get("includeAll"):
            values = values[:1]
        self.known[variable["name"]] = (
            values,
            bool(variable.get("multi") or variable.get("includeAll")),
            variable.get("allValue"),
        )

    def expand(self, text, kind):
        def value(match):
            name = match["braced"] or match["plain"] or match["old"]
            if name.startswith("__"):
                return match[0]
            if name not in self.known:
                raise ValueError(f"variable {name} is not declared")
            values, several, all_value = self.known[name]
            form = match["format"]
            if all_value:
                return all_value
            if form == "sqlstring":
                return ",".join("'" + str(item).replace("'", "''") + "'" for item in values or [""])
            if form == "regex" or (not form and kind == "prometheus" and several):
                # In a PromQL string a backslash stands for itself only when doubled.
                slash = "\\" if form == "regex" else "\\\\"
                items = [re.sub(r"([\\^$.|?*+()\[\]{}/])", lambda m: slash + m[1], str(item)) for item in values]
                return items[0] if len(items) == 1 else "(" + "|".join(items) + ")"
            return ("|" if form == "pipe" else ",").join(str(item) for item in values)

        return VARIABLE.sub(value, text)


def run_queries(dashboards, prometheus, postgres):
    """Runs everything; returns faults, (query, reason) of empty results, number of queries."""
    faults, empty, count = [], [], 0
    for dashboard in dashboards:
        values = Values()
        variables = {f"variable {v['name']}": v for v in dashboard["templating"]["list"]}
        for variable in variables.values():
            if variable["type"] in ("custom", "constant", "textbox"):
                values.set(variable, [part.strip() for part in str(variable.get("query", "")).split(",")])
        for query in queries_of(dashboard):
            server = prometheus if query.kind == "prometheus" else postgres
            if server is None:
                if query.owner in variables:
                    values.set(variables[query.owner], [])
                continue
            count += 1
            try:
                if query.owner in variables:
                    found = variable_values(query, values, prometheus, postgres)
                    values.set(variables[query.owner], found)
                elif query.kind == "prometheus":
                    found = run_promql(query, values, prometheus)
                else:
                    found = run_sql(query, values, postgres)
            except ValueError as error:
                faults.append(f"{query.where}: {error}")
                if query.owner in variables:
                    values.set(variables[query.owner], [])
                continue
            if not found:
                empty.append((query, EMPTY_IS_FINE.get((query.uid, query.owner))))
    return faults, empty, count


def variable_values(query, values, prometheus, postgres):
    if query.kind == "prometheus":
        return prometheus.label_values(values.expand(query.text, "prometheus"))
    return [row[0].lstrip("\n") for row in postgres.rows(postgres.expand(values.expand(query.text, "postgres")))]


def run_promql(query, values, prometheus):
    for name in sorted(metric_names(query.text)):
        if name not in prometheus.names and name not in ABSENT_IS_FINE:
            raise ValueError(f"Prometheus does not know metric {name}")
    series = prometheus.run(values.expand(query.text, "prometheus"), query.target.get("instant", False))
    labels = set().union(*(labels for labels, _ in series))
    wanted = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", query.target.get("legendFormat", "")))
    if series and wanted - labels:
        raise ValueError(
            f"its legend names the label {', '.join(sorted(wanted - labels))}, the result has {sorted(labels)}"
        )
    if series and query.panel.get("type") == "table":
        check_columns(query.panel, labels | {"Time", "Value"})
    return [one for one, has_number in series if has_number]


def run_sql(query, values, postgres):
    sql = postgres.expand(values.expand(query.text, "postgres"))
    columns = postgres.columns(sql)
    names, kind = [name for name, _ in columns], query.panel.get("type")
    if kind == "timeseries" or query.target.get("format") == "time_series":
        if names[0] != "time":
            raise ValueError(f"a time series needs `time` as its first column, it has {names}")
        columns = columns[1:]
    for name, column_type in columns:
        if not Postgres.TYPES.match(column_type):
            raise ValueError(f"column {name} has type {column_type}: cast it (numeric to float8, others to text)")
    if kind in ("stat", "gauge", "bargauge", "timeseries", "barchart") and not any(
        re.search(r"int|double|real", t) for _, t in columns
    ):
        raise ValueError(f"a {kind} needs a column of numbers, it has {columns}")
    check_columns(query.panel, set(names))
    rows = postgres.rows(sql)
    # A single row of null shows as no value, too.
    return [row for row in rows if any(cell.strip("\n") for cell in row)]


def check_columns(panel, names):
    """Columns that the panel's options speak of exist."""
    options, wanted = panel.get("options", {}), set()
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        if override.get("matcher", {}).get("id") == "byName":
            wanted.add(override["matcher"]["options"])
    wanted |= {sort.get("displayName") for sort in options.get("sortBy", [])}
    wanted |= {options["xField"]} if options.get("xField") else set()
    if wanted - names:
        raise ValueError(
            f"its options name the column {', '.join(sorted(wanted - names))}, the result has {sorted(names)}"
        )


# --- Self-test ---------------------------------------------------------------------------------------------------


def first(dashboard, kind, panel_type=None):
    """The first target of a kind of query, of a type of panel if given, and its panel."""
    for query in queries_of(dashboard):
        if query.panel and query.kind == kind and panel_type in (None, query.panel["type"]):
            return query.target, query.panel
    raise LookupError(f"the self-test needs a {panel_type or 'panel'} with a {kind} query")


def data_panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def edit(target, key, pattern, replacement):
    text, hits = re.subn(pattern, replacement, target[key], count=1)
    if not hits:
        raise LookupError(f"the self-test found no {pattern} in {target[key]}")
    target[key] = text


def spoil(kind, key, pattern, replacement, panel_type=None):
    """A fault planted into the first query of a kind that has the pattern."""

    def plant(dashboard):
        for query in queries_of(dashboard):
            if (
                query.panel
                and query.kind == kind
                and panel_type in (None, query.panel["type"])
                and re.search(pattern, query.target[key])
            ):
                return edit(query.target, key, pattern, replacement)
        raise LookupError(f"the self-test found no {kind} query with {pattern}")

    return plant


def static_plants():
    """What is planted, how, and what the finding must say."""

    def overlap(dashboard):
        one, other = data_panels(dashboard)[:2]
        other["gridPos"] = dict(one["gridPos"])

    def same_ref(dashboard):
        target, panel = first(dashboard, "prometheus")
        panel["targets"].append(dict(target))

    def defaults(dashboard):
        return data_panels(dashboard)[0]["fieldConfig"]["defaults"]

    def descending(dashboard):
        defaults(dashboard)["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": "green", "value": None}, {"color": "red", "value": 2}, {"color": "blue", "value": 1}],
        }

    return [
        (
            "wrong metric name",
            spoil("prometheus", "expr", r"acequia_(\w+)", r"acequia_x\1"),
            "is not in worker/src",
        ),
        ("missing unit", lambda d: defaults(d).pop("unit"), "has no unit"),
        ("unknown unit", lambda d: defaults(d).update(unit="secs"), "unit 'secs' is not"),
        ("missing description", lambda d: data_panels(d)[0].pop("description"), "has no description"),
        ("thresholds that do not ascend", descending, "thresholds do not ascend"),
        ("overlapping panels", overlap, "overlaps"),
        ("panel outside the grid", lambda d: data_panels(d)[0]["gridPos"].update(x=23, w=4), "inside 24 columns"),
        ("panel id twice", lambda d: data_panels(d)[1].update(id=data_panels(d)[0]["id"]), "panel id"),
        ("refId twice", same_ref, "refIds"),
        (
            "unknown variable in a query",
            spoil("prometheus", "expr", r"\{", '{x=~"$nowhere",'),
            "'nowhere' is used and not declared",
        ),
        (
            "variable that nobody uses",
            lambda d: d["templating"]["list"].append({"name": "idle", "label": "Idle", "type": "custom", "query": "a"}),
            "'idle' is declared and not used",
        ),
        (
            "datasource by its name",
            lambda d: data_panels(d)[0]["datasource"].update(uid="prometheus"),
            "must be the variable",
        ),
        (
            "rate with a fixed window",
            spoil("prometheus", "expr", r"rate\((.*?)\[\$__rate_interval\]", r"rate(\1[5m]"),
            "the window must be",
        ),
        (
            "counter without rate",
            spoil("prometheus", "expr", r"^", "acequia_received_messages_total + "),
            "without rate or increase",
        ),
        ("several values matched with =", spoil("prometheus", "expr", r'=~"\$', '="$'), "match it with =~"),
        ("bad SQL: bracket missing", spoil("postgres", "rawSql", r"\)", ""), "not balanced"),
        ("bad SQL: not a select", spoil("postgres", "rawSql", r"select", "selec"), "must be one select"),
        (
            "bad SQL: table of another role",
            spoil("postgres", "rawSql", r"from (marts|core)\.\w+", "from stg.alumnos_upsert"),
            "is not what acequia_analyst may read",
        ),
        ("variable in SQL without a format", spoil("postgres", "rawSql", r":sqlstring", ""), "depends on its version"),
        (
            "link to nowhere",
            lambda d: d["links"].append({"type": "link", "title": "x", "url": "/d/nowhere"}),
            "which is no dashboard",
        ),
        ("another uid than the file", lambda d: d.update(uid="other"), "the file's name says"),
        ("old schema", lambda d: d.update(schemaVersion=16), "schemaVersion must be"),
    ]


def live_plants():
    return [
        ("bad SQL: unknown column", spoil("postgres", "rawSql", r"\bdomain\b", "domian"), "does not exist"),
        ("bad SQL: syntax", spoil("postgres", "rawSql", r"\bwhere\b", "were"), "ERROR"),
        (
            "bad SQL: no right",
            spoil("postgres", "rawSql", r"(?s)^.+$", "select count(*) from core.batches"),
            "permission denied",
        ),
        ("numeric without a cast", spoil("postgres", "rawSql", r"::float8", "::numeric"), "cast it"),
        ("override of a column that is not there", spoil_override, "its options name the column nowhere"),
        (
            "unknown metric of the broker",
            spoil("prometheus", "expr", r"rabbitmq_detailed_queue_\w+", "rabbitmq_detailed_nothing"),
            "does not know metric",
        ),
        ("bad PromQL", spoil("prometheus", "expr", r"$", " +"), "parse error"),
        (
            "legend with a label that is not there",
            spoil("prometheus", "legendFormat", r"\{\{queue\}\}", "{{nowhere}}"),
            "its legend names the label nowhere",
        ),
    ]


def spoil_override(dashboard):
    panel = first(dashboard, "postgres", "table")[1]
    panel["fieldConfig"]["overrides"].append({"matcher": {"id": "byName", "options": "nowhere"}, "properties": []})


def self_test(prometheus, postgres):
    """Plants faults into a copy; returns those that were not found."""
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("grafana", "prometheus", "sql"):
            shutil.copytree(ROOT / name, root / name)
        shutil.copytree(ROOT / "worker/src", root / "worker/src")
        files = sorted((root / "grafana/dashboards").rglob("*.json"))
        before, _ = lint(Project(root))

        def planted(title, plant, expected, search):
            # In the first dashboard that has the place to plant it.
            for file in files:
                original = file.read_text()
                try:
                    dashboard = json.loads(original)
                    plant(dashboard)
                except (LookupError, KeyError):
                    continue
                file.write_text(canonical(dashboard))
                found = [fault for fault in search(dashboard) if fault not in before and expected in fault]
                file.write_text(original)
                print(f"{'found ' if found else 'MISSED'}  {title}" + (f": {found[0]}" if found else ""))
                if not found:
                    missed.append(title)
                return
            print(f"MISSED  {title}: no dashboard has the place to plant it")
            missed.append(title)

        for title, plant, expected in static_plants():
            planted(title, plant, expected, lambda _: lint(Project(root))[0])
        rules = sorted((root / "prometheus/rules").glob("*.yml"))
        if rules:
            rules[0].write_text(
                rules[0].read_text() + "\n# acequia_comment is none\n      - {alert: X, expr: acequia_nowhere > 0}\n"
            )
            found = [fault for fault in lint(Project(root))[0] if "acequia_nowhere" in fault]
            print(
                f"{'found ' if found else 'MISSED'}  wrong metric name in a rule" + (f": {found[0]}" if found else "")
            )
            missed += [] if found else ["wrong metric name in a rule"]
        if prometheus and postgres:
            for title, plant, expected in live_plants():
                planted(title, plant, expected, lambda dashboard: run_queries([dashboard], prometheus, postgres)[0])
    return missed


# --- Command line ------------------------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", metavar="URL", help="run the PromQL queries there, as http://127.0.0.1:9090")
    parser.add_argument(
        "--postgres",
        metavar="URL",
        help="run the SQL queries there, as postgres://acequia_analyst:password@127.0.0.1:5432/payments",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="an empty result is a fault, unless it is expected (EMPTY_IS_FINE in the script)",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="plant faults into a copy and prove that each is found; with servers, those that need them too",
    )
    parser.add_argument(
        "--format", action="store_true", help="write the files in their one form: two spaces, short things on one line"
    )
    return parser.parse_args()


def main():
    options = arguments()
    if options.format:
        for file in sorted((ROOT / "grafana/dashboards").rglob("*.json")):
            file.write_text(canonical(json.loads(file.read_text())))
    prometheus = Prometheus(options.prometheus) if options.prometheus else None
    postgres = Postgres(options.postgres) if options.postgres else None
    if options.self_test:
        missed = self_test(prometheus, postgres)
        print(
            f"self-test: {len(missed)} planted faults missed" if missed else "self-test: every planted fault was found"
        )
        return 1 if missed else 0

    faults, dashboards = lint(Project(ROOT))
    count, empty = 0, []
    if not faults and (prometheus or postgres):
        faults, empty, count = run_queries(dashboards, prometheus, postgres)
    for query, reason in empty:
        print(f"empty: {query.where}: {'expected: ' + reason if reason else 'NOT EXPECTED'}")
        if options.strict and not reason:
            faults.append(f"{query.where}: empty result")
    for fault in faults:
        print(f"fault: {fault}")
    panels = sum(1 for dashboard in dashboards for panel in panels_of(dashboard) if panel.get("type") != "row")
    print(
        f"{len(dashboards)} dashboards, {panels} panels, {count} queries run: {len(faults)} faults, {len(empty)} empty"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unreachable as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(2)
