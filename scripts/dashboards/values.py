"""How a value looks: units, thresholds, mappings, names of series. As near to Grafana as a preview needs."""

import datetime
import math
import re

COLOURS = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "text": "#ccccdc",
}
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a"]
PER_SECOND = {"mps": "msg/s", "cps": "/s", "rowsps": "rows/s", "ops": "ops/s", "wps": "w/s", "eps": "ev/s"}


def number(value, decimals=None):
    if decimals is None:
        decimals = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


def scaled(value, steps, decimals=None):
    for factor, suffix in steps:
        if abs(value) >= factor or factor == steps[-1][0]:
            return f"{number(value / factor, decimals)}{suffix}"
    return number(value, decimals)


def short(value, decimals=None):
    if abs(value) < 1000:
        return number(value, decimals)
    return scaled(value, [(1e9, " B"), (1e6, " M"), (1e3, " K")])


def seconds(value, decimals=None):
    if value == 0:
        return "0 s"
    if abs(value) < 1:
        return scaled(value, [(1, " s"), (1e-3, " ms"), (1e-6, " µs")])
    return scaled(value, [(86400, " d"), (3600, " h"), (60, " min"), (1, " s")], decimals if abs(value) < 60 else None)


def size(value, decimals=None):
    return scaled(value, [(2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")])


def ago(moment, now):
    passed = now - moment
    return "now" if passed < 1 else f"{seconds(passed, 0)} ago"


def shown(value, unit, decimals, now):
    """A number as the unit shows it."""
    if math.isinf(value):
        return "∞"
    if unit == "percentunit":
        return f"{number(value * 100, 0 if decimals is None else decimals)} %"
    if unit == "s":
        return seconds(value, decimals)
    if unit == "bytes":
        return size(value)
    if unit == "Bps":
        return f"{size(value)}/s"
    if unit == "dateTimeFromNow":
        return ago(value / 1000, now)
    if unit == "locale":
        return number(value, decimals)
    if unit in PER_SECOND:
        return f"{short(value, decimals)} {PER_SECOND[unit]}"
    if unit == "none":
        return number(value, decimals)
    return short(value, decimals)


def moment(text):
    """Unix time of a timestamp as PostgreSQL writes it, or None."""
    if not re.match(r"\d{4}-\d\d-\d\d \d\d:", text):
        return None
    text = re.sub(r"([+-]\d\d)$", r"\1:00", text)
    text = re.sub(r"\.(\d{1,6})", lambda m: "." + m[1].ljust(6, "0"), text)
    return datetime.datetime.fromisoformat(text).timestamp()


def cell(text, unit, decimals, now):
    """A text of psql as the unit shows it."""
    when = moment(text)
    if when is not None:
        return ago(when, now) if unit == "dateTimeFromNow" else text[11:19]
    try:
        return shown(float(text), unit, decimals, now)
    except ValueError:
        return text


def threshold_colour(value, thresholds):
    colour = "text"
    for step in (thresholds or {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return COLOURS.get(colour, COLOURS["text"])


def mapped(text, mappings):
    """(text, colour) of a value that has a mapping, else None."""
    for mapping in mappings or []:
        found = mapping["options"].get(text) or mapping["options"].get(re.sub(r"\.0$", "", text))
        if found:
            return found["text"], COLOURS.get(found.get("color"), COLOURS["text"])
    return None


def legend(target, labels, title):
    form = target.get("legendFormat", "")
    if form and form != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: labels.get(m[1], ""), form).strip()
    return " ".join(value for name, value in sorted(labels.items()) if name != "__name__") or title


def nice(top):
    """A round number that is not below."""
    if top <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(top))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= top * 0.999)
