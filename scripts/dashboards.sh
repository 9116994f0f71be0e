#!/usr/bin/env bash
# Runs every query of the Grafana dashboards against real servers, and tests the dashboard checker itself.
#
# dashboards.sh
#     Starts private servers, a worker and an API, sends demo data and calls, waits until Prometheus has seen it, then runs
#     scripts/check_dashboards.py with every query of every panel, variable and annotation (as the role that Grafana
#     has), and with a mutant for each thing it checks. An empty result is a fault where the source of the
#     dashboard does not say why it may be. The alerts have to link to RUNBOOKS_URL.
#
# Needs what `scripts/services.sh install --observability` installs, and python3 with PyYAML.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

case ${1:-} in
  '') ;;
  -h | --help)
    print_help
    exit
    ;;
  *) die "unknown option $1, see $0 --help" ;;
esac
python3 -c 'import yaml' 2>/dev/null || die "python3 with PyYAML is missing" "get it with: apt-get install python3-yaml"

# The checks that need no servers come first.
scripts/check_dashboards.py >&2

CARGO_TERM_QUIET=true build_programs dev worker publisher api >&2
bin=${CARGO_TARGET_DIR:-$ROOT/target}/debug
dir=$(mktemp -d /tmp/acequia-dashboards-XXXXXX)
cleanup() {
  local input=${SERVERS[1]:-}
  end_process "$dir/traffic" KILL
  end_process "$dir/worker" KILL
  end_process "$dir/api" KILL
  # The end of its input ends the servers, and their data with them.
  if [[ -n $input ]]; then
    exec {input}>&-
    wait "$SERVERS_PID" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

export RUNBOOKS_URL=https://wiki.example.org/runbooks
coproc SERVERS { exec "$ROOT/scripts/services.sh" run "$dir/servers" --observability --any-port; }
read -r line <&"${SERVERS[0]}" || true
[[ ${line:-} == READY ]] || die "the servers did not start"
set -a
# shellcheck disable=SC1091  # written by services.sh
source "$dir/servers/env"
set +a

"$bin/worker" migrate >"$dir/migrate.log" 2>&1 || { cat "$dir/migrate.log" >&2 && die "worker migrate failed"; }
# No domain has to have a tick; here one has, so that the panels of ticks are tried, too.
"$ROOT/scripts/services.sh" exec "$dir/servers" psql --quiet --set ON_ERROR_STOP=1 --dbname "$DATABASE_URL" <<'SQL'
do $$
declare
    v_domain text := (select min(e.domain) from core.entities e);
begin
    execute format($f$create function %I.tick_of_dashboards(timestamptz) returns integer language sql as 'select 1'$f$, v_domain);
    insert into core.ticks (function, domain, every) values (v_domain || '.tick_of_dashboards', v_domain, '5 seconds');
end
$$
SQL
DATABASE_URL=$WORKER_DATABASE_URL HTTP_ADDR=${WORKER_URL#http://} spawn "$dir/worker" "$dir/worker.log" "$bin/worker" run
disown
API_HTTP_ADDR=${API_URL#http://} spawn "$dir/api" "$dir/api.log" "$bin/api" serve
disown
token=$("$bin/api" token create --name dashboards --role admin) || die "api token create failed"

# Every alert links to its runbook at the address of the installation.
links=$(curl -sS -f -m 5 "$PROMETHEUS_URL/api/v1/rules?type=alert" | python3 -c '
import json, sys
for group in json.load(sys.stdin)["data"]["groups"]:
    for rule in group["rules"]:
        print(rule["annotations"]["runbook_url"])')
[[ -n $links ]] || die "Prometheus has no alerts"
! grep -v "^$RUNBOOKS_URL/[A-Za-z]*\.md$" <<<"$links" >&2 || die "these runbook_url ignore RUNBOOKS_URL"

# The demo data of every domain, again and again with another seed, and calls of the API, for as long as this runs.
# shellcheck disable=SC2016  # for the inner shell
spawn "$dir/traffic" "$dir/traffic.log" bash -c '
  publisher=$1 api=$2 token=$3
  shift 3
  for ((i = 1; ; i++)); do
    for path in marts marts/kpi_materia quarantine streams nothing; do
      curl --silent --max-time 5 --output /dev/null --oauth2-bearer "$token" "$api/v1/$path"
    done
    for file; do
      "$publisher" generate $(sed -nE "1{s/^-- demo: *//;s/--seed [0-9]+/--seed $i/;p}" "$file")
    done
    sleep 8
  done' _ "$bin/publisher" "$API_URL" "$token" sql/demo/*.sql
disown

# prometheus EXPRESSION: whether it has a result that is not 0.
prometheus() {
  curl -sS -f -m 5 -G "$PROMETHEUS_URL/api/v1/query" --data-urlencode "query=($1) > 0" 2>/dev/null | grep -q '"value"'
}
wait_for() { # WHAT EXPRESSION
  local i
  for ((i = 0; i < 240; i++)); do
    ! prometheus "$2" || return 0
    pid_of "$dir/worker" >/dev/null || { tail -n 20 "$dir/worker.log" >&2 && die "the worker stopped"; }
    sleep 0.5
  done
  tail -n 20 "$dir/traffic.log" "$dir/worker.log" >&2
  die "Prometheus did not see $1 within 2 minutes"
}
wait_for "messages of the worker" 'sum(rate(acequia_promoted_rows_total[1m]))'
wait_for "messages of the broker" 'sum(rate(rabbitmq_global_messages_received_total[1m]))'
wait_for "rows of the database" 'sum(rate(pg_stat_database_tup_inserted[1m]))'
wait_for "calls of the API" 'sum(rate(acequia_api_calls_total{status="2xx"}[1m]))'
wait_for "a refresh" 'sum(increase(acequia_refresh_duration_seconds_count[1m]))'
wait_for "the recorded budgets" 'count(slo:error_budget_remaining:ratio) == 2'
wait_for "the recorded shares" 'count(domain:acequia_quarantined_messages:ratio_rate5m)'
wait_for "a check" 'sum(max by (rule) (acequia_dq_passed))'

scripts/check_dashboards.py --prometheus "$PROMETHEUS_URL" --postgres "$ANALYST_DATABASE_URL" --strict --self-test
