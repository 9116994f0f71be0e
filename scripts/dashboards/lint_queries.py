"""What can be found in the text of a query without running it."""

import re

from .model import balanced, names_in_query, variables_in, without_strings

FORMATS = {"sqlstring", "regex", "pipe", "csv", "raw"}
MACROS = {
    "__" + name for name in "timeFilter timeFrom timeTo timeGroup timeGroupAlias time interval interval_ms".split()
}
COUNTER = re.compile(r"_(total|bucket|sum|count)$")
# The exporter's own names: counters without an ending, gauges with one.
COUNTERS = re.compile(r"pg_stat_database_(?!numbackends|stats_reset|checksum_last_failure)\w+$")
GAUGES = {"pg_stat_activity_count", "pg_locks_count"}


def is_counter(name):
    return bool(COUNTER.search(name) or COUNTERS.match(name)) and name not in GAUGES


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
            say(f"metric {name} is not in prometheus/metrics.yml")
        if ":" in name and name not in project.records:
            say(f"{name} is recorded by no rule of prometheus/rules")
    for name, matchers in re.findall(r"(acequia_\w+)\{([^}]*)\}", re.sub(r"\"(?:\\.|[^\"\\])*\"", '""', text)):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if project.has_metric(name) and label not in project.labels_of(name):
                say(f"{name} has no label {label}")
    if re.search(r"\ble\s*=\s*\"", text):
        say('match le with a pattern, as le=~"30(\\\\.0)?": versions of Prometheus print its value differently')
    for operator, name in re.findall(r"\w\s*(=~|!~|!=|=)\s*\"\$\{?(\w+)\}?\"", text):
        variable = declared.get(name, {})
        if (variable.get("multi") or variable.get("includeAll")) and operator in ("=", "!="):
            say(f"${name} can have several values: match it with =~")
    if query.owner.startswith("variable "):
        return
    bare = re.sub(r"\{[^}]*\}", "", re.sub(r"\"(?:\\.|[^\"\\])*\"", '""', text))
    for function, name, window in re.findall(r"\b(rate|irate|increase)\s*\(\s*([\w:]*)\s*(?:\[([^\]]*)\])?", bare):
        # An hour against an hour of another week is the one window that is meant as it stands.
        allowed = ("$__rate_interval", "$__range", "1h") if function == "increase" else ("$__rate_interval",)
        if window not in allowed:
            say(f"{function}({name}[{window}]): the window must be {' or '.join(allowed)}")
        if not is_counter(name):
            say(f"{function}({name}) of something that is not a counter")
    for match in re.finditer(r"[a-zA-Z_:][\w:]*", bare):
        if is_counter(match[0]) and not re.search(
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
