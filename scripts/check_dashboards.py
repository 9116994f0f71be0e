#!/usr/bin/env python3
"""Checks the Grafana dashboards. Needs Python 3.9 or newer with PyYAML; with --postgres also psql.

Without options: reads grafana/, prometheus/, sql/ and docs/runbooks, and finds what can be found without servers:
files that are not what grafana/src says, broken structure, style, variables, links, metrics that are not in
prometheus/metrics.yml, tables the analyst may not read, alerts that no panel explains. With --prometheus and --postgres
it also runs every query of every panel, variable and annotation, expanded as Grafana does it: against Prometheus, and
in PostgreSQL as the role of the URL (take the analyst's, Grafana uses it).

scripts/dashboards.sh starts the servers and a worker with data for that, and runs it.

Exit codes: 0 nothing found, 1 faults found, 2 usage, or a server does not answer.
"""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True
try:
    import yaml  # noqa: F401
except ImportError:
    sys.exit("error: PyYAML is missing\n       get it with: apt-get install python3-yaml")

from dashboards.build import build  # noqa: E402
from dashboards.faults import self_test  # noqa: E402
from dashboards.lint import lint  # noqa: E402
from dashboards.live import run_queries  # noqa: E402
from dashboards.model import Project, panels_of  # noqa: E402
from dashboards.preview import write_previews  # noqa: E402
from dashboards.servers import Postgres, Prometheus, Unreachable  # noqa: E402
from dashboards.sources import ROOT, Mistake, Sources  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--build", action="store_true", help="write grafana/dashboards from grafana/src and docs/runbooks"
    )
    parser.add_argument("--prometheus", metavar="URL", help="run the PromQL queries there, as http://127.0.0.1:9090")
    parser.add_argument(
        "--postgres",
        metavar="URL",
        help="run the SQL queries there, as postgresql://acequia_analyst:password@127.0.0.1:5432/payments",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="an empty result is a fault, unless the source says why it may be (may_be_empty)",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="check mutants of a copy and prove that each is found; with servers, those that need them too",
    )
    parser.add_argument("--verbose", action="store_true", help="with --self-test: say how each fault was found")
    parser.add_argument("--preview", metavar="DIR", help="draw each dashboard from live results, as SVG")
    return parser.parse_args()


def write_dashboards():
    folder = ROOT / "grafana/dashboards"
    wanted = build(Sources())
    for file in sorted(folder.rglob("*.json")):
        if str(file.relative_to(folder)) not in wanted:
            file.unlink()
    for name, text in wanted.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"wrote grafana/dashboards/{name}")


def main():
    options = arguments()
    if options.build:
        write_dashboards()
    prometheus = Prometheus(options.prometheus) if options.prometheus else None
    postgres = Postgres(options.postgres) if options.postgres else None
    project = Project(ROOT)
    if options.preview:
        if not (prometheus and postgres):
            raise Unreachable("--preview needs --prometheus and --postgres")
        write_previews(Path(options.preview), project, prometheus, postgres)
        return 0

    faults, dashboards = lint(project)
    count, empty = 0, []
    if not faults and (prometheus or postgres):
        faults, empty, count = run_queries(dashboards, project, prometheus, postgres)
    unexpected = [query for query, reason in empty if not reason]
    for query, reason in empty:
        # Every runbook asks for its own alert.
        if reason and not query.uid.startswith("runbook-"):
            print(f"empty: {query.where}: expected: {reason}")
    for query in unexpected:
        print(f"empty: {query.where}: NOT EXPECTED")
        if options.strict:
            faults.append(f"{query.where}: empty result, and no may_be_empty says why")
    for fault in faults:
        print(f"fault: {fault}")
    panels = sum(1 for dashboard in dashboards for panel in panels_of(dashboard) if panel.get("type") != "row")
    print(
        f"{len(dashboards)} dashboards, {panels} panels, {count} queries run: {len(faults)} faults, {len(empty)} empty"
    )
    if options.self_test and not faults:
        missed, mutants = self_test(prometheus, postgres, options.verbose)
        print(f"self-test: {mutants} mutants, {len(missed)} missed")
        faults = missed
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(1)
    except Unreachable as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(2)
