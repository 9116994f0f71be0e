"""Every query of every panel, variable and annotation, expanded as Grafana does it and run."""

import re

from .model import VARIABLE, metric_names, queries_of
from .servers import Postgres


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


class Runner:
    """Runs the queries of one dashboard after the other."""

    def __init__(self, project, prometheus, postgres):
        self.prometheus, self.postgres = prometheus, postgres
        self.may_be_absent = project.may_be_absent()
        self.values = Values()

    def results(self, dashboard):
        """(query, result or ValueError) of each query that has a server. See promql() and sql() for results."""
        self.values = Values()
        variables = {f"variable {v['name']}": v for v in dashboard["templating"]["list"]}
        for query in queries_of(dashboard):
            variable = variables.get(query.owner)
            if (self.prometheus if query.kind == "prometheus" else self.postgres) is None:
                if variable:
                    self.values.set(variable, [])
                continue
            try:
                if variable:
                    result = self.variable_values(query)
                elif query.kind == "prometheus":
                    result = self.promql(query)
                else:
                    result = self.sql(query)
            except ValueError as error:
                result = error
            if variable:
                self.values.set(variable, [] if isinstance(result, ValueError) else result)
            yield query, result

    def variable_values(self, query):
        text = self.values.expand(query.text, query.kind)
        if query.kind == "prometheus":
            return self.prometheus.label_values(text)
        return [row[0] for row in self.postgres.rows(Postgres.expand(text))]

    def promql(self, query):
        """Series: (labels, [(time, value)])."""
        for name in sorted(metric_names(query.text)):
            if name not in self.prometheus.names and name not in self.may_be_absent:
                raise ValueError(f"Prometheus does not know metric {name}")
        text = self.values.expand(query.text, "prometheus")
        series = self.prometheus.run(text, query.target.get("instant", False))
        labels = set().union(*(labels for labels, _ in series))
        wanted = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", query.target.get("legendFormat", "")))
        if series and wanted - labels:
            raise ValueError(
                f"its legend names the label {', '.join(sorted(wanted - labels))}, the result has {sorted(labels)}"
            )
        if series and query.panel.get("type") == "table":
            check_columns(query.panel, labels | {"Time", "Value"})
        return series

    def sql(self, query):
        """(names of the columns, their types, rows of texts)."""
        text = Postgres.expand(self.values.expand(query.text, "postgres"))
        columns = self.postgres.columns(text)
        names, kind = [name for name, _ in columns], query.panel.get("type")
        checked = columns
        if kind == "timeseries" or query.target.get("format") == "time_series":
            if names[0] != "time":
                raise ValueError(f"a time series needs `time` as its first column, it has {names}")
            checked = columns[1:]
        for name, column_type in checked:
            if not Postgres.TYPES.match(column_type):
                raise ValueError(f"column {name} has type {column_type}: cast it (numeric to float8, others to text)")
        if kind in ("stat", "gauge", "timeseries", "barchart", "piechart") and not any(
            re.search(r"int|double|real", column_type) for _, column_type in checked
        ):
            raise ValueError(f"a {kind} needs a column of numbers, it has {checked}")
        check_columns(query.panel, set(names))
        return names, [column_type for _, column_type in columns], self.postgres.rows(text)


def is_empty(result):
    if isinstance(result, tuple):
        # A single row of null shows as no value, too.
        return not any(cell for row in result[2] for cell in row)
    if result and isinstance(result[0], tuple):
        return not any(value == value for _, points in result for _, value in points)
    return not result


def run_queries(dashboards, project, prometheus, postgres):
    """Runs everything; returns faults, (query, reason) of empty results, number of queries."""
    faults, empty, count = [], [], 0
    runner = Runner(project, prometheus, postgres)
    for dashboard in dashboards:
        for query, result in runner.results(dashboard):
            count += 1
            if isinstance(result, ValueError):
                faults.append(f"{query.where}: {result}")
            elif is_empty(result):
                empty.append((query, project.may_be_empty(query.uid, query.owner)))
    return faults, empty, count


def displayed(panel, names):
    """The columns as the panel shows them, renamed and without the hidden ones: {name: shown as}."""
    for transformation in panel.get("transformations", []):
        options = transformation["options"]
        spoken_of = set(options["renameByName"]) | set(options["excludeByName"])
        if spoken_of - set(names):
            raise ValueError(
                f"it speaks of the column {', '.join(sorted(spoken_of - set(names)))}: there is {sorted(names)}"
            )
        return {
            name: options["renameByName"].get(name, name) for name in names if not options["excludeByName"].get(name)
        }
    return {name: name for name in names}


def check_columns(panel, names):
    """Columns that the panel's options speak of exist."""
    options, wanted = panel.get("options", {}), set()
    shown = set(displayed(panel, names).values())
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        if override.get("matcher", {}).get("id") == "byName":
            wanted.add(override["matcher"]["options"])
    wanted |= {sort.get("displayName") for sort in options.get("sortBy", [])}
    wanted |= {options["xField"]} if options.get("xField") else set()
    if wanted - shown:
        raise ValueError(
            f"its options name the column {', '.join(sorted(wanted - shown))}, the result has {sorted(shown)}"
        )
