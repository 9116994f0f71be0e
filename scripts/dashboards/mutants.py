"""Faults to plant into dashboards: (what, how, what the finding must say). Found by scripts/dashboards/faults.py."""

import re

from .model import panels_of, queries_of


def first(dashboard, kind, panel_type=None):
    """The first target of a kind of query, of a type of panel if given, and its panel."""
    for query in queries_of(dashboard):
        if query.panel and query.kind == kind and panel_type in (None, query.panel["type"]):
            return query.target, query.panel
    raise LookupError(f"no {panel_type or 'panel'} with a {kind} query")


def panel(dashboard, kind=None):
    """The first panel with fields, of a type if given."""
    for one in panels_of(dashboard):
        if "fieldConfig" in one and kind in (None, one["type"]):
            return one
    raise LookupError(f"no panel of type {kind}")


def defaults(dashboard, kind=None):
    return panel(dashboard, kind)["fieldConfig"]["defaults"]


def variable(dashboard, kind="query"):
    for one in dashboard["templating"]["list"]:
        if one["type"] == kind:
            return one
    raise LookupError("no variable")


def spoil(kind, key, pattern, replacement, panel_type=None):
    """A mutant of the first query of a kind that has the pattern."""

    def plant(dashboard):
        for query in queries_of(dashboard):
            if query.panel and query.kind == kind and panel_type in (None, query.panel["type"]):
                text, hits = re.subn(pattern, replacement, query.target.get(key, ""), count=1)
                if hits:
                    query.target[key] = text
                    return
        raise LookupError(f"no {kind} query with {pattern}")

    return plant


def promql(pattern, replacement, panel_type=None):
    return spoil("prometheus", "expr", pattern, replacement, panel_type)


def sql(pattern, replacement, panel_type=None):
    return spoil("postgres", "rawSql", pattern, replacement, panel_type)


def overlap(dashboard):
    one, other = (p for p in list(panels_of(dashboard))[1:3])
    other["gridPos"] = dict(one["gridPos"])


def short_line(dashboard):
    places = [p["gridPos"] for p in panels_of(dashboard) if p["type"] != "row"]
    next(place for place in places if place["x"] > 0 and place["x"] + place["w"] == 24)["w"] -= 1


def uneven_line(dashboard):
    next(p["gridPos"] for p in panels_of(dashboard) if p["type"] != "row" and p["gridPos"]["x"] > 0)["h"] -= 1


def blind_to_missing(dashboard):
    for query in queries_of(dashboard):
        if "missing" in query.target.get("rawSql", "") and '"text": "fresh"' in str(query.panel).replace("'", '"'):
            query.target["rawSql"] = query.target["rawSql"].replace("missing", "absent")
            return
    raise LookupError("no panel that shows fresh")


def whole_percents(dashboard):
    found = defaults(dashboard, "timeseries")
    found.pop("max", None)
    found.update(unit="percentunit", decimals=0)


def same_ref(dashboard):
    target, where = first(dashboard, "prometheus")
    where["targets"].append(dict(target))


def steps(*values):
    steps = [{"color": "green", "value": value} for value in values]
    return lambda d: defaults(d).update(thresholds={"mode": "absolute", "steps": steps})


def row_with_panels(dashboard):
    row = next(p for p in dashboard["panels"] if p["type"] == "row")
    row["panels"].append({**panel(dashboard), "id": 999, "title": "Lost"})


def idle_variable(dashboard):
    dashboard["templating"]["list"].append({"name": "idle", "label": "Idle", "type": "custom", "query": "a"})


def link(url):
    return lambda d: d["links"].append({"type": "link", "title": "x", "url": url})


def all_value_in_sql(dashboard):
    for one in dashboard["templating"]["list"]:
        if one.get("includeAll") and "allValue" not in one and one["datasource"]["uid"] == "${postgres}":
            one["allValue"] = ".*"
            return
    raise LookupError("no variable for SQL with All")


def alert_list_source(dashboard):
    for one in panels_of(dashboard):
        if one["type"] == "alertlist":
            one["options"]["datasource"] = "prometheus"
            return
    raise LookupError("no list of alerts")


def link_to_a_file(dashboard):
    for one in panels_of(dashboard):
        if one["type"] == "text":
            one["options"]["content"] += "[x](../x.md)"
            return
    raise LookupError("no text")


def annotation_source(dashboard):
    dashboard["annotations"]["list"][1]["datasource"] = {"type": "loki", "uid": "x"}


STATIC = [
    ("metric that no program has", promql(r"acequia_(\w+)", r"acequia_x\1"), "is not in prometheus/metrics.yml"),
    ("label that the metric has not", promql(r"(acequia_\w+)\{", r'\1{nolabel="x",'), "has no label nolabel"),
    ("recording that no rule makes", promql(r"^", "job:nothing:rate5m + "), "is recorded by no rule"),
    ("metric by a pattern", promql(r"^", '{__name__=~"x.*"} + '), "names a metric by a pattern"),
    ("bucket's edge as a number", promql(r'le=~"30\(\\\\\.0\)\?"', 'le="30"'), "match le with a pattern"),
    ("missing unit", lambda d: defaults(d).pop("unit"), "has no unit"),
    ("unknown unit", lambda d: defaults(d).update(unit="secs"), "unit 'secs' is not"),
    ("missing noValue", lambda d: defaults(d).pop("noValue"), "has no noValue"),
    ("missing description", lambda d: panel(d).pop("description"), "has no description"),
    ("a long description", lambda d: panel(d).update(description="A. B. C. D."), "more than three sentences"),
    ("missing title", lambda d: panel(d).pop("title"), "has no title"),
    ("missing thresholds", lambda d: defaults(d).pop("thresholds"), "has no thresholds"),
    ("thresholds that do not ascend", steps(None, 2, 1), "thresholds do not ascend"),
    ("thresholds without a base", steps(1, 2), "the first step"),
    ("a gap that is bridged", lambda d: defaults(d, "timeseries")["custom"].update(spanNulls=True), "spanNulls"),
    ("slip in a panel's key", lambda d: panel(d).update(desciption="x"), "desciption is no key of a panel"),
    ("slip in a field's key", lambda d: defaults(d).update(unti="s"), "unti is no key of a defaults"),
    ("slip in a target's key", lambda d: first(d, "prometheus")[0].update(exp="x"), "exp is no key of a target"),
    ("slip in a dashboard's key", lambda d: d.update(refrsh="30s"), "refrsh is no key of a dashboard"),
    ("slip in a variable's key", lambda d: variable(d).update(lable="x"), "lable is no key of a variable"),
    ("unknown panel type", lambda d: panel(d).update(type="graph"), "type 'graph' is not in use"),
    ("panels in an open row", row_with_panels, "holds panels although"),
    ("overlapping panels", overlap, "overlaps"),
    ("line that ends before the edge", short_line, "its line ends at column 23"),
    ("panels of unequal height", uneven_line, "beside it"),
    ("variable in a title", lambda d: panel(d).update(title="Month $mes"), "its title has a variable"),
    ("axis of whole percents", whole_percents, "0 %, 0 %, 0 %"),
    ("fresh without a look at missing", blind_to_missing, "never looks at missing"),
    ("panel outside the grid", lambda d: panel(d)["gridPos"].update(x=23, w=4), "inside 24 columns"),
    ("panel id twice", lambda d: d["panels"][1].update(id=d["panels"][0]["id"]), "panel id"),
    ("panel title twice", lambda d: d["panels"][2].update(title=d["panels"][1]["title"]), "panel title"),
    ("panel without an id", lambda d: panel(d).update(id=None), "a panel id is missing"),
    ("refId twice", same_ref, "refIds"),
    ("panel without a target", lambda d: panel(d).update(targets=[]), "has no target"),
    ("target without a query", lambda d: first(d, "prometheus")[0].update(expr=""), "has no query"),
    ("variable that is not there", promql(r"\{", '{x=~"$nowhere",'), "'nowhere' is used and not declared"),
    ("variable that nobody uses", idle_variable, "'idle' is declared and not used"),
    ("variable twice", lambda d: d["templating"]["list"].append(dict(variable(d))), "is declared twice"),
    ("variable without a label", lambda d: variable(d).pop("label"), "has no label"),
    ("variable that is not read again", lambda d: variable(d).update(refresh=1), "refresh must be 2"),
    ("variable without an order", lambda d: variable(d).pop("sort"), "sort is missing"),
    (
        "default that is not provisioned",
        lambda d: variable(d, "datasource")["current"].update(value="x"),
        "is no provisioned",
    ),
    ("datasource by its name", lambda d: panel(d)["datasource"].update(uid="prometheus"), "must be the variable"),
    ("datasource of another type", lambda d: panel(d)["datasource"].update(type="loki"), "datasource type 'loki'"),
    ("list of alerts from elsewhere", alert_list_source, "must be the name of a provisioned one"),
    ("annotation from elsewhere", annotation_source, "annotation Firing alerts: datasource type"),
    ("rate with a fixed window", promql(r"rate\((.*?)\[\$__rate_interval\]", r"rate(\1[5m]"), "the window must be"),
    ("rate of a gauge", promql(r"^", "rate(acequia_ready[$__rate_interval]) + "), "not a counter"),
    ("counter without rate", promql(r"^", "acequia_received_messages_total + "), "without rate or increase"),
    ("several values matched with =", promql(r'=~"\$', '="$'), "match it with =~"),
    ("PromQL: bracket missing", promql(r"\)", ""), "not balanced"),
    ("SQL: bracket missing", sql(r"\)", ""), "not balanced"),
    ("SQL: not a select", sql(r"select", "selec"), "must be one select"),
    ("SQL: two statements", sql(r"$", "; select 1"), "must be one select"),
    ("SQL: a writer", sql(r"$", " union delete from marts.freshness returning 1"), "must only read"),
    ("SQL: a command of psql", sql(r"^select", r"select \\\\gexec"), "a backslash"),
    ("SQL: table of another role", sql(r"from (marts|core)\.\w+", "from stg.batches"), "is not what acequia_analyst"),
    ("SQL: table without a schema", sql(r"from (marts|core)\.\w+", "from freshness"), "has no schema"),
    ("SQL: variable without a format", sql(r":sqlstring", ""), "depends on its version"),
    ("SQL: variable whose All is a pattern", all_value_in_sql, "has an allValue"),
    ("SQL: unknown macro", sql(r"\$__timeFilter", "$__timeFiltre"), "macro $__timeFiltre is not known"),
    ("SQL: time series without time", sql(r"\$__timeGroupAlias\([^)]*\)", "now()", "timeseries"), "named time"),
    ("SQL: time series without order", sql(r"order by .*", "", "timeseries"), "ordered by time"),
    ("link to nowhere", link("/d/nowhere"), "which is no dashboard"),
    ("link with a variable that is not there", link("/d/rabbitmq?var-nowhere=1"), "sets variable nowhere"),
    ("link to a file", link_to_a_file, "which is no page of Grafana"),
    ("link by a tag that nobody has", lambda d: d["links"][0].update(tags=["nobody"]), "finds no other dashboard"),
    ("link to a host", link("http://grafana.internal/d/x"), "names a host"),
    ("another uid than the file", lambda d: d.update(uid="other"), "the file's name says"),
    ("uid that Grafana refuses", lambda d: d.update(uid="a b"), "uid must have"),
    ("uid twice", lambda d: d.update(uid="rabbitmq"), "uid 'rabbitmq' is used twice"),
    ("title twice", lambda d: d.update(title="RabbitMQ"), "title 'RabbitMQ' is used twice"),
    ("old schema", lambda d: d.update(schemaVersion=16), "schemaVersion must be"),
    ("no refresh", lambda d: d.pop("refresh"), "refresh is missing"),
    ("no tag", lambda d: d.update(tags=["x"]), "tag acequia is missing"),
    ("edited by hand", lambda d: d.update(title="Edited"), "is not current"),
]


def spoil_override(dashboard):
    where = first(dashboard, "postgres", "table")[1]
    where["fieldConfig"]["overrides"].append({"matcher": {"id": "byName", "options": "nowhere"}, "properties": []})


def rename_nothing(dashboard):
    for one in panels_of(dashboard):
        for transformation in one.get("transformations", []):
            if one["title"] != "Firing alerts":
                transformation["options"]["renameByName"]["nowhere"] = "somewhere"
                return
    raise LookupError("no panel that renames")


LIVE = [
    ("SQL: unknown column", sql(r"\bdomain\b", "domian"), "does not exist"),
    ("SQL: syntax", sql(r"\bwhere\b", "were"), "ERROR"),
    ("SQL: no right", sql(r"(?s)^.+$", "select count(*) from core.batches"), "permission denied"),
    ("SQL: a function that writes", sql(r"(?s)^.+$", "select nextval('core.batch_id')"), "ERROR"),
    ("SQL: a query that takes too long", sql(r"(?s)^.+$", "select 1 from pg_sleep(30)"), "statement timeout"),
    ("SQL: numeric without a cast", sql(r"::float8", "::numeric"), "cast it"),
    (
        "SQL: time is not the first column",
        sql(r"select (\$__\w+\([^)]*\)), (\w+) as metric", r"select \2 as metric, \1", "timeseries"),
        "as its first column",
    ),
    ("SQL: a number that is none", sql(r"(?s)^.+$", "select 'x' as x", "stat"), "needs a column of numbers"),
    ("override of a column that is not there", spoil_override, "its options name the column nowhere"),
    ("renamed column that is not there", rename_nothing, "it speaks of the column nowhere"),
    ("metric that the broker has not", promql(r"rabbitmq_\w+", "rabbitmq_nothing"), "does not know metric"),
    ("bad PromQL", promql(r"$", " +"), "parse error"),
    (
        "legend with a label that is not there",
        spoil("prometheus", "legendFormat", r"\{\{queue\}\}", "{{nowhere}}"),
        "its legend names the label nowhere",
    ),
    ("variable in another form", lambda d: variable(d)["query"].update(query="metrics(x)"), "only label_values"),
    ("variable that is not there", promql(r"\{", '{x=~"$nowhere",'), "nowhere is not declared"),
    ("empty result", promql(r"^(.*)$", r"(\1) > 1e300", "stat"), "empty result"),
]
