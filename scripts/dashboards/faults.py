"""The check of the checker: mutants of the files, each of which must be found."""

import ast
import json
import re
import shutil
import tempfile
from pathlib import Path

from .build import canonical
from .lint import lint
from .live import run_queries
from .model import Project
from .mutants import LIVE, STATIC
from .sources import ROOT


def append(file, text):
    return lambda root: (root / file).write_text((root / file).read_text() + text)


def replace(file, pattern, replacement):
    def plant(root):
        text, hits = re.subn(pattern, replacement, (root / file).read_text(), count=1)
        if not hits:
            raise LookupError(f"{file} has no {pattern}")
        (root / file).write_text(text)

    return plant


OVERVIEW = "grafana/src/pipeline/pipeline-overview.yml"
ALERT = "\n  - {alert: AcequiaNew, expr: up == 0}\n"
FILES = [
    ("source that was not built", replace(OVERVIEW, "title: ", "title: New "), "is not current"),
    ("dashboard without a source", lambda root: (root / "grafana/src/domains/academico.yml").unlink(), "has no source"),
    (
        "dashboard that was not built",
        lambda root: (root / "grafana/dashboards/platform/rabbitmq.json").unlink(),
        "is not there",
    ),
    ("dashboard outside a folder", lambda root: (root / "grafana/dashboards/x.json").write_text("{}"), "subfolder"),
    ("file that is no JSON", append("grafana/dashboards/platform/rabbitmq.json", "}"), "not valid JSON"),
    ("slip in a source", replace(OVERVIEW, "    unit: short", "    unti: short"), "unknown unti"),
    ("source that is no YAML", append(OVERVIEW, "\n\t- {"), "pipeline-overview.yml"),
    (
        "reason for a panel without a query",
        replace(OVERVIEW, "    size: 8x7", "    size: 8x7\n    may_be_empty: x"),
        "which has no query",
    ),
    (
        "wrong metric name in a rule",
        append(
            "prometheus/rules/alerts.yml", "\n# acequia_comment is none\n  - {alert: X, expr: acequia_nowhere > 0}\n"
        ),
        "acequia_nowhere is not in",
    ),
    ("alert without a panel", append("prometheus/rules/alerts.yml", ALERT), "AcequiaNew is explained by no panel"),
    ("alert without a runbook", append("prometheus/rules/alerts.yml", ALERT), "AcequiaNew has no runbook"),
    (
        "alert that leads nowhere",
        replace("prometheus/rules/alerts.yml", "dashboard_url: /d/marts", "dashboard_url: /d/x"),
        "leads to no dashboard",
    ),
    (
        "alert that leads astray",
        replace("prometheus/rules/alerts.yml", "dashboard_url: /d/marts", "dashboard_url: /d/academico"),
        "where no panel explains it",
    ),
    (
        "panel of an alert that is gone",
        replace(OVERVIEW, r"alerts: \[", "alerts: [AcequiaGone, "),
        "AcequiaGone, which is not in",
    ),
]


def messages(*modules):
    """(place, its longest fixed part) of every fault that these modules can report."""
    for module in modules:
        file = Path(__file__).parent / module
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") in ("say", "here", "ValueError")
                and node.args
            ):
                parts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                parts = [part for part in parts if isinstance(part, str)]
                if parts:
                    yield f"{module}:{node.lineno}", max(parts, key=len)


def self_test(prometheus, postgres, verbose=False):
    """Checks mutants of a copy; returns those that were not found, and the number of mutants."""
    missed, count, seen = [], 0, []

    def judge(title, found):
        nonlocal count
        count += 1
        seen.extend(found)
        if verbose or not found:
            print(f"{'found ' if found else 'MISSED'}  {title}" + (f": {found[0]}" if found else ""))
        if not found:
            missed.append(title)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("grafana", "prometheus", "sql", "docs/runbooks"):
            shutil.copytree(ROOT / name, root / name)
        files = sorted((root / "grafana/dashboards").rglob("*.json"))
        # Runbooks last: the others have more to spoil.
        files.sort(key=lambda file: file.parent.name == "runbooks")
        project = Project(root)

        def statically(_):
            return lint(project)[0]

        def live(dashboard):
            faults, empty, _ = run_queries([dashboard], project, prometheus, postgres)
            return faults + [f"{query.where}: empty result" for query, reason in empty if not reason]

        before = set(statically(None))
        mutants = [(*plant, statically) for plant in STATIC]
        if prometheus and postgres:
            mutants += [(*plant, live) for plant in LIVE]
        for title, plant, expected, search in mutants:
            # In the first dashboard that has the place to plant it.
            for file in files:
                original = file.read_text()
                try:
                    dashboard = json.loads(original)
                    plant(dashboard)
                except (LookupError, TypeError, AttributeError):
                    continue
                file.write_text(canonical(dashboard))
                judge(title, [fault for fault in search(dashboard) if fault not in before and expected in fault])
                file.write_text(original)
                break
            else:
                judge(f"{title}: no dashboard has the place to plant it", [])

        for title, plant, expected in FILES:
            with tempfile.TemporaryDirectory() as other:
                copy = Path(other) / "copy"
                shutil.copytree(root, copy)
                plant(copy)
                judge(title, [fault for fault in lint(Project(copy))[0] if expected in fault])

    # A message that can be reported and was not belongs to a check that nobody has seen work.
    modules = ["lint.py", "lint_queries.py"] + (["live.py"] if prometheus and postgres else [])
    for place, text in messages(*modules):
        if not any(text in fault for fault in seen):
            judge(f"no mutant makes {place} say {text!r}", [])
    return missed, count
