"""The sources of the dashboards: grafana/src/common.yml and grafana/src/<folder>/<uid>.yml, as they were written.

What the words mean is in grafana/src/README.md.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


# The parser in C is ten times faster, where it is there.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text):
    return yaml.load(text, Loader=LOADER)


class Mistake(Exception):
    """A source that cannot be turned into a dashboard."""


def read(file):
    try:
        found = load(file.read_text())
    except yaml.YAMLError as error:
        raise Mistake(f"{file}: {error}") from None
    if not isinstance(found, dict):
        raise Mistake(f"{file}: must be a mapping")
    return found


@dataclass
class Source:
    """One dashboard as written."""

    uid: str
    folder: str
    text: dict
    # (panel, variable or annotation): why its result may be empty on a healthy platform.
    may_be_empty: dict = field(default_factory=dict)
    # Panel: the alerts that it explains.
    alerts: dict = field(default_factory=dict)

    @property
    def rows(self):
        return self.text.get("rows", [])


def title_of(panel):
    """(type, title): the first word of a panel is its type."""
    kind = next(iter(panel), None)
    return kind, panel.get(kind)


@dataclass
class Alert:
    """An alert of prometheus/rules, and its runbook."""

    name: str
    severity: str
    annotations: dict
    expression: str


@dataclass
class Sources:
    """Everything that dashboards are made from."""

    root: Path = ROOT
    common: dict = field(default_factory=dict)
    dashboards: list = field(default_factory=list)
    alerts: dict = field(default_factory=dict)
    runbooks: dict = field(default_factory=dict)

    def __post_init__(self):
        folder = self.root / "grafana/src"
        self.common = read(folder / "common.yml")
        for file in sorted(folder.glob("*/*.yml")):
            source = Source(file.stem, file.parent.name, read(file))
            for row in source.rows:
                for panel in row.get("panels", []):
                    _, title = title_of(panel)
                    if "may_be_empty" in panel:
                        source.may_be_empty[title] = panel["may_be_empty"]
                    if "alerts" in panel:
                        source.alerts[title] = panel["alerts"]
            for kind, owner in (("annotations", "annotation"), ("variables", "variable")):
                for name, thing in self.common.get(kind, {}).items():
                    if "may_be_empty" in thing:
                        source.may_be_empty[f"{owner} {thing.get('title', name)}"] = thing["may_be_empty"]
            self.dashboards.append(source)
        for file in sorted((self.root / "prometheus/rules").glob("*.yml")):
            for group in read(file).get("groups", []):
                for rule in group.get("rules", []):
                    if "alert" in rule:
                        # Several rules may have one name: burn rates over several windows.
                        self.alerts.setdefault(
                            rule["alert"],
                            Alert(
                                rule["alert"],
                                rule.get("labels", {}).get("severity", ""),
                                rule.get("annotations", {}),
                                rule["expr"],
                            ),
                        )
        for file in sorted((self.root / "docs/runbooks").glob("*.md")):
            self.runbooks[file.stem] = file.read_text()
