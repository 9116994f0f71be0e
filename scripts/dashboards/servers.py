"""Prometheus and PostgreSQL, asked as Grafana asks them."""

import datetime
import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request


class Unreachable(Exception):
    """A server that was asked for does not answer."""


class Prometheus:
    """Runs PromQL over the last minutes, as a graph and as a single value."""

    def __init__(self, url, seconds=600, step=15):
        self.seconds, self.step = seconds, step
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
        """Series as (labels, [(time, value)])."""
        # As Grafana: $__rate_interval = max($__interval + scrape interval, 4 x scrape interval).
        window = max(self.step + 15, 4 * 15)
        for name, seconds in (("rate_interval", window), ("interval", self.step), ("range", self.seconds)):
            expression = re.sub(rf"\$\{{?__{name}_ms\b\}}?", f"{seconds * 1000}", expression)
            expression = re.sub(rf"\$\{{?__{name}\b\}}?", f"{seconds}s", expression)
        now = datetime.datetime.now().timestamp()
        if instant:
            result = self.get("/api/v1/query", query=expression, time=now)["result"]
        else:
            result = self.get(
                "/api/v1/query_range", query=expression, start=now - self.seconds, end=now, step=self.step
            )["result"]
        if result and not isinstance(result[0], dict):  # a scalar
            return [({}, [(float(result[0]), float(result[1]))])]
        return [
            (series["metric"], [(float(t), float(v)) for t, v in series.get("values") or [series["value"]]])
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
    # Types that Grafana shows as number, text, time or boolean.
    TYPES = re.compile(
        r"(small|big)?int(eger)?$|double precision|real|text|character|name|boolean|date|timestamp|\"char\""
    )

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("postgres", "postgresql") or not parts.hostname:
            raise Unreachable(
                "--postgres must be a URL, as postgresql://acequia_analyst:password@127.0.0.1:5432/payments"
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
            "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=5s",
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
        records = done.stdout.rstrip("\n").split("\x1e")
        return [record.lstrip("\n").split("\x1f") for record in records if record.strip("\n")]

    def rows(self, sql):
        return self.psql(sql + "\n;\n")

    def columns(self, sql):
        """(name, type) of each column; the query is not run."""
        return [(record[0], record[1]) for record in self.psql(sql + "\n\\gdesc\n")]

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
