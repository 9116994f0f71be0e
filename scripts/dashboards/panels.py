"""From the words of a source to Grafana's JSON of one panel."""

import re

from .sources import Mistake, title_of

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "${postgres}"}
SIZES = {
    "stat": (4, 4),
    "gauge": (4, 4),
    "timeseries": (12, 8),
    "heatmap": (12, 8),
    "table": (12, 8),
    "barchart": (12, 8),
    "piechart": (8, 8),
    "state-timeline": (12, 8),
    "alertlist": (12, 8),
    "text": (12, 8),
}
# Keys that a panel may have, besides its type with its title. Any other key is a slip.
WORDS = set(
    """about unit decimals thresholds no_value promql sql size stack bars min max columns mappings link alerts
    may_be_empty may_be_absent x horizontal markdown sort points colours""".split()
)
COLUMN_WORDS = set("as unit decimals thresholds width mappings link hide background".split())


def thresholds(words):
    """`green, 10 orange, 30 red`: the colour from the start, then from each value on."""
    steps = []
    for part in str(words or "text").split(","):
        *value, colour = part.split()
        steps.append({"color": colour, "value": float(value[0]) if value else None})
    for step in steps:
        if step["value"] is not None and step["value"].is_integer():
            step["value"] = int(step["value"])
    return {"mode": "absolute", "steps": steps}


def mappings(words):
    """`{0: red NOT READY}`: for a value, colour and text. No colour: `{0: - off}`."""
    options = {}
    for index, (value, shown) in enumerate(words.items()):
        colour, _, text = str(shown).partition(" ")
        options[value_name(value)] = {"index": index, "text": text or value_name(value)}
        if colour != "-":
            options[value_name(value)]["color"] = colour
    return [{"type": "value", "options": options}]


def value_name(value):
    # YAML reads true and false.
    return str(value).lower() if isinstance(value, bool) else str(value)


def data_link(words, titles):
    """`/d/uid?var-x=...`: opens another dashboard at the same times."""
    if isinstance(words, dict):
        title, url = words["title"], words["url"]
    else:
        url = words
        uid = re.match(r"/d/([\w-]+)", url)
        title = f"Open {titles.get(uid[1], uid[1])}" if uid else "Open"
    if url.startswith("/d/") and "${__url_time_range}" not in url:
        url += ("&" if "?" in url else "?") + "${__url_time_range}"
    return {"title": title, "url": url, "targetBlank": False}


def dashboard_link(title, url, tooltip=""):
    return {
        "type": "link",
        "title": title,
        "url": url,
        "tooltip": tooltip,
        "icon": "dashboard",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
    }


def targets(panel, kind):
    """Datasource and targets. `promql` is one expression or a mapping of legends to expressions, `sql` one query."""
    if ("promql" in panel) == ("sql" in panel):
        raise Mistake("needs either promql or sql")
    if "sql" in panel:
        shape = "time_series" if kind in ("timeseries", "heatmap") else "table"
        return POSTGRES, [
            {"refId": "A", "editorMode": "code", "format": shape, "rawQuery": True, "rawSql": panel["sql"].strip()}
        ]
    asked = panel["promql"]
    if not isinstance(asked, dict):
        asked = {"": asked}
    made = []
    for ref, (legend, expression) in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", asked.items()):
        target = {"refId": ref, "editorMode": "code", "expr": expression.strip(), "legendFormat": legend or "__auto"}
        if kind in ("stat", "gauge", "table", "barchart"):
            target.update({"instant": True, "range": False})
        if kind == "table":
            target["format"] = "table"
            del target["legendFormat"]
        if kind == "heatmap":
            target["format"] = "heatmap"
        made.append(target)
    return PROMETHEUS, made


def reduce_options():
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}


def legend(panel, many):
    if many:
        return {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}


def number_of_series(panel):
    asked = panel.get("promql")
    if isinstance(asked, dict):
        return 9 if any("{{" in name for name in asked) else len(asked)
    return 9


def custom_and_options(panel, kind):
    """What belongs to the type: (fieldConfig.defaults.custom, options)."""
    if kind == "stat":
        return None, {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "center",
            "textMode": "value",
            "reduceOptions": reduce_options(),
        }
    if kind == "gauge":
        return None, {"reduceOptions": reduce_options(), "showThresholdLabels": False, "showThresholdMarkers": True}
    if kind == "timeseries":
        bars, stack, limit = panel.get("bars"), panel.get("stack"), "," in str(panel.get("thresholds", ""))
        custom = {
            "drawStyle": "bars" if bars else "line",
            "lineWidth": 1,
            "fillOpacity": 60 if bars else 30 if stack else 10,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stack else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if limit else "off"},
        }
        return custom, {
            "legend": legend(panel, number_of_series(panel) > 4),
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "heatmap":
        return {"scaleDistribution": {"type": "linear"}}, {
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Oranges",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 64,
                "fill": "dark-orange",
                "reverse": False,
            },
            "filterValues": {"le": 1e-09},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
            "yAxis": {"axisPlacement": "left", "unit": panel.get("unit", "s"), "reverse": False},
        }
    if kind == "table":
        options = {"cellHeight": "sm", "showHeader": True}
        if "sort" in panel:
            name, _, way = panel["sort"].partition(" ")
            options["sortBy"] = [{"displayName": name, "desc": way == "desc"}]
        return {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False}, options
    if kind == "barchart":
        return {
            "fillOpacity": 80,
            "lineWidth": 0,
            "axisPlacement": "auto",
            "thresholdsStyle": {"mode": "off"},
        }, {
            "xField": panel["x"],
            "orientation": "horizontal" if panel.get("horizontal") else "vertical",
            "showValue": "auto",
            "stacking": "normal" if panel.get("stack") else "none",
            "barWidth": 0.8,
            "groupWidth": 0.8,
            "xTickLabelRotation": 0,
            # Names that would overlap are left out; Grafana shows them when the mouse is there.
            "xTickLabelSpacing": 0 if panel.get("horizontal") else 100,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "none"},
        }
    if kind == "piechart":
        # One row, a slice for each column.
        return None, {
            "pieType": "pie",
            "displayLabels": ["value"],
            "reduceOptions": reduce_options(),
            "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "values": ["value", "percent"]},
            "tooltip": {"mode": "single", "sort": "none"},
        }
    if kind == "state-timeline":
        return {"fillOpacity": 70, "lineWidth": 0}, {
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "never",
            "tooltip": {"mode": "single", "sort": "none"},
        }
    raise Mistake(f"type {kind!r} is not known")


def series_overrides(panel):
    """Series with a colour of their own (`colours`), and those drawn as points (`points`): marks in a line."""
    properties = {name: [] for name in [*panel.get("colours", {}), *panel.get("points", [])]}
    for name, colour in panel.get("colours", {}).items():
        properties[name].append({"id": "color", "value": {"mode": "fixed", "fixedColor": colour}})
    for name in panel.get("points", []):
        properties[name] += [
            {"id": "custom.drawStyle", "value": "points"},
            {"id": "custom.showPoints", "value": "always"},
            {"id": "custom.pointSize", "value": 9},
        ]
    return [{"matcher": {"id": "byName", "options": name}, "properties": items} for name, items in properties.items()]


def table_columns(columns, prometheus, titles):
    """(overrides, transformations) of the columns that a table speaks of."""
    overrides, hidden, renamed = [], {}, {}
    if prometheus:
        hidden["Time"] = True
    for name, words in columns.items():
        words = words or {}
        unknown = set(words) - COLUMN_WORDS
        if unknown:
            raise Mistake(f"column {name}: unknown {', '.join(sorted(unknown))}")
        if words.get("hide"):
            hidden[name] = True
            continue
        if "as" in words:
            renamed[name] = words["as"]
        properties = []
        for key in ("unit", "decimals"):
            if key in words:
                properties.append({"id": key, "value": words[key]})
        if "width" in words:
            properties.append({"id": "custom.width", "value": words["width"]})
        if "thresholds" in words:
            properties.append({"id": "thresholds", "value": thresholds(words["thresholds"])})
        if "mappings" in words:
            properties.append({"id": "mappings", "value": mappings(words["mappings"])})
        if "thresholds" in words or "mappings" in words:
            cell = "color-background" if words.get("background") else "color-text"
            properties.append({"id": "custom.cellOptions", "value": {"type": cell}})
        if "link" in words:
            properties.append({"id": "links", "value": [data_link(words["link"], titles)]})
        if properties:
            overrides.append({"matcher": {"id": "byName", "options": words.get("as", name)}, "properties": properties})
    organize = {"excludeByName": hidden, "indexByName": {}, "renameByName": renamed}
    if prometheus:
        organize["indexByName"] = {name: index for index, name in enumerate(columns)}
    return overrides, [{"id": "organize", "options": organize}] if hidden or renamed else []


def alert_list(panel):
    return {
        "viewMode": "list",
        "groupMode": "default",
        "groupBy": [],
        "maxItems": 20,
        "sortOrder": 3,
        "dashboardAlerts": False,
        "alertName": "",
        "alertInstanceLabelFilter": "",
        # This panel wants the name, not the uid.
        "datasource": "Prometheus",
        "folder": None,
        "showInactiveAlerts": False,
        "stateFilter": {
            "firing": True,
            "pending": True,
            "recovering": True,
            "noData": False,
            "normal": False,
            "error": True,
        },
    }


def panel_json(panel, titles):
    """The panel, without its id and its place. `titles`: of every dashboard, by uid."""
    kind, title = title_of(panel)
    if kind not in SIZES:
        raise Mistake(f"a panel begins with its type, not with {kind!r}")
    unknown = set(panel) - WORDS - {kind}
    if unknown:
        raise Mistake(f"{title}: unknown {', '.join(sorted(unknown))}")
    made = {"type": kind, "title": title, "description": " ".join(str(panel.get("about", "")).split())}
    if "alerts" in panel:
        made["links"] = [dashboard_link(f"Runbook {name}", f"/d/runbook-{name}") for name in panel["alerts"]]
    if kind == "text":
        made["options"] = {"mode": "markdown", "content": panel["markdown"]}
        return made
    if kind == "alertlist":
        made["options"] = alert_list(panel)
        return made
    try:
        made["datasource"], made["targets"] = targets(panel, kind)
        custom, options = custom_and_options(panel, kind)
        defaults = {
            "unit": panel.get("unit"),
            "noValue": panel.get("no_value"),
            "thresholds": thresholds(panel.get("thresholds")),
        }
        series = kind in ("timeseries", "barchart")
        threshold_colours = kind not in ("timeseries", "piechart") and not (kind == "barchart" and "thresholds" not in panel)
        defaults["color"] = {"mode": "thresholds" if threshold_colours else "palette-classic"}
        if series:
            defaults["min"] = 0
        for key in ("decimals", "min", "max"):
            if key in panel:
                defaults[key] = panel[key]
        if kind == "gauge":
            defaults.setdefault("min", 0)
            defaults.setdefault("max", 1)
        if defaults.get("min") == "none":
            del defaults["min"]
        if "mappings" in panel:
            defaults["mappings"] = mappings(panel["mappings"])
        if "link" in panel:
            defaults["links"] = [data_link(panel["link"], titles)]
        if custom:
            defaults["custom"] = custom
        overrides, transformations = series_overrides(panel), []
        if kind == "table":
            overrides, transformations = table_columns(panel.get("columns", {}), "promql" in panel, titles)
        made["fieldConfig"] = {"defaults": defaults, "overrides": overrides}
        made["options"] = options
        if transformations:
            made["transformations"] = transformations
    except (KeyError, ValueError, Mistake) as error:
        raise Mistake(f"{title}: {error}") from None
    return made
