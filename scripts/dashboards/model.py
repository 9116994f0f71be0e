"""What the dashboards have to agree with, and the queries in them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from .sources import Mistake, Sources, load

# Grafana's name of a datasource, and ours.
PLUGINS = {"prometheus": "prometheus", "grafana-postgresql-datasource": "postgres"}
VARIABLE = re.compile(
    r"\$\{(?P<braced>\w+)(?P<path>\.[\w.]+)?(?::(?P<format>[^}]+))?\}|\$(?P<plain>\w+)|\[\[(?P<old>\w+)[^\]]*\]\]"
)


@dataclass
class Project:
    """The files that the dashboards have to agree with."""

    root: Path
    # By name, as in prometheus/metrics.yml.
    metrics: dict = field(default_factory=dict)
    records: set = field(default_factory=set)
    # Everybody may read the system's catalogs.
    readable: set = field(default_factory=lambda: {"pg_catalog.pg_stat_user_tables"})
    datasources: dict = field(default_factory=dict)
    datasource_names: set = field(default_factory=set)
    sources: Sources = None
    mistakes: list = field(default_factory=list)

    def __post_init__(self):
        try:
            self.sources = Sources(self.root)
        except Mistake as mistake:
            self.mistakes.append(str(mistake))
        groups = load((self.root / "prometheus/metrics.yml").read_text())["groups"]
        self.metrics = {metric["name"]: metric for group in groups for metric in group["metrics"]}
        for file in self.rules():
            self.records |= set(re.findall(r"^\s*-?\s*record: (\S+)", file.read_text(), re.M))
        for file in sorted((self.root / "sql").rglob("*.sql")):
            text = re.sub(r"--.*", "", file.read_text())
            self.readable |= set(
                re.findall(r"create (?:or replace )?(?:materialized )?(?:view|table|function) (marts\.\w+)", text)
            )
            # The list of core.apply_rights.
            for names in re.findall(r"\('acequia_analyst', '\w+', 'table', '{select}', array\[([^]]+)\]", text):
                self.readable |= set(re.findall(r"'([\w.]+)'", names))
        for file in sorted((self.root / "grafana/provisioning/datasources").glob("*.yaml")):
            for datasource in load(file.read_text())["datasources"]:
                self.datasources[datasource["uid"]] = datasource["type"]
                self.datasource_names.add(datasource["name"])

    def rules(self):
        return sorted((self.root / "prometheus/rules").glob("*.yml"))

    def metric(self, name):
        return self.metrics.get(name) or self.metrics.get(re.sub(r"_(bucket|sum|count)$", "", name))

    def has_metric(self, name):
        return self.metric(name) is not None

    def labels_of(self, name):
        # Prometheus adds two, histograms have one of their own.
        return {"job", "instance", "le"} | set(self.metric(name)["labels"])

    def may_be_empty(self, uid, owner):
        """Why the result of a panel, a variable or an annotation may be empty; None when it may not."""
        if uid.startswith("runbook-"):
            return "the alert was quiet"
        for source in self.sources.dashboards:
            if source.uid == uid:
                return source.may_be_empty.get(owner)
        return None

    def may_be_absent(self):
        """Metrics that Prometheus may not know, and why."""
        found = {"ALERTS": "exists only while an alert is pending or fires"}
        for source in self.sources.dashboards:
            for row in source.rows:
                for panel in row["panels"]:
                    found.update(panel.get("may_be_absent", {}))
        return found


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
