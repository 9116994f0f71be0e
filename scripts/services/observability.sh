# shellcheck shell=bash
# Prometheus with its exporters, Alertmanager, Grafana. Sourced by scripts/services.sh.
# shellcheck disable=SC2154  # options are set by services.sh

start_observability() {
  local home=$DIR/prometheus
  mkdir -p "$home/data"
  # From PostgreSQL 17 on checkpoints are counted in a view of their own, which the exporter reads when told to.
  local checkpoints=()
  ! prometheus-postgres-exporter --help 2>&1 | grep -q collector.stat_checkpointer || (($(pg_version_of "$(pg_bin)") < 17)) ||
    checkpoints=(--collector.stat_checkpointer)
  if ! pid_of "$STATE/postgres-exporter" >/dev/null; then
    DATA_SOURCE_URI="127.0.0.1:$POSTGRES_PORT/$POSTGRES_DB?sslmode=$([[ -n $tls ]] && echo require || echo disable)" DATA_SOURCE_USER=postgres \
      DATA_SOURCE_PASS=$POSTGRES_SUPERUSER_PASSWORD \
      spawn "$STATE/postgres-exporter" "$home/postgres-exporter.log" \
      prometheus-postgres-exporter --web.listen-address="127.0.0.1:$POSTGRES_EXPORTER_PORT" "${checkpoints[@]}"
  fi
  if have prometheus-node-exporter && ! pid_of "$STATE/node-exporter" >/dev/null; then
    spawn "$STATE/node-exporter" "$home/node-exporter.log" prometheus-node-exporter --collector.disable-defaults \
      --collector.filesystem --web.listen-address="127.0.0.1:$NODE_EXPORTER_PORT"
  fi

  rm -rf "$home/config.new"
  mkdir -p "$home/config.new/rules" "$home/config.new/targets"
  local rules
  for rules in "$ROOT"/prometheus/rules/*.yml; do
    sed "s#runbook_url: docs/runbooks#runbook_url: ${RUNBOOKS_URL:-docs/runbooks}#" "$rules" >"$home/config.new/rules/${rules##*/}"
  done
  cp "$ROOT/prometheus/alertmanager.yml" "$home/config.new/"
  # Publishers that somebody listed stay.
  cp "$home/config/targets/publishers.yml" "$home/config.new/targets/" 2>/dev/null || echo '[]' >"$home/config.new/targets/publishers.yml"
  local without=()
  have prometheus-alertmanager || without+=(-e '/^# begin alertmanager/,/^# end alertmanager/d')
  have prometheus-node-exporter || without+=(-e '/^# begin node-exporter/,/^# end node-exporter/d')
  sed "${without[@]}" -e "s#\"node-exporter:9100\"#\"127.0.0.1:$NODE_EXPORTER_PORT\"#" \
    -e "s#regex: /var/lib/postgresql\$#regex: $(df --output=target "$(pg_base)" | tail -n 1)#" \
    -e "/dns_sd_configs/i\\    static_configs:\n      - targets: [\"127.0.0.1:$WORKER_PORT\"]" -e '/# Every container/d; /dns_sd_configs/,/port: 9464/d' \
    -e "s/\"api:8080\"/\"127.0.0.1:$API_PORT\"/" \
    -e "s/\"rabbitmq:15692\"/\"127.0.0.1:$RABBITMQ_METRICS_PORT\"/" \
    -e "s/\"postgres-exporter:9187\"/\"127.0.0.1:$POSTGRES_EXPORTER_PORT\"/" \
    -e "s/\"localhost:9090\"/\"127.0.0.1:$PROMETHEUS_PORT\"/" \
    -e "s/\"alertmanager:9093\"/\"127.0.0.1:$ALERTMANAGER_PORT\"/" \
    "$ROOT/prometheus/prometheus.yml" >"$home/config.new/prometheus.yml"
  local changed=no
  diff -r "$home/config" "$home/config.new" >/dev/null 2>&1 || changed=yes
  rm -rf "$home/config"
  mv "$home/config.new" "$home/config"
  promtool check config "$home/config/prometheus.yml" >"$home/check.log" 2>&1 || { cat "$home/check.log" >&2; die "the Prometheus settings are not valid"; }

  local pid
  if have prometheus-alertmanager; then
    if pid=$(pid_of "$STATE/alertmanager"); then
      [[ $changed == no ]] || kill -HUP "$pid"
    else
      # One of one: it needs no port for others of its kind.
      spawn "$STATE/alertmanager" "$home/alertmanager.log" prometheus-alertmanager \
        --config.file="$home/config/alertmanager.yml" --storage.path="$home/alertmanager" \
        --web.listen-address="127.0.0.1:$ALERTMANAGER_PORT" --cluster.listen-address=
    fi
    wait_http alertmanager "http://127.0.0.1:$ALERTMANAGER_PORT/-/ready" "$home/alertmanager.log"
  fi
  if pid=$(pid_of "$STATE/prometheus"); then
    [[ $changed == no ]] || kill -HUP "$pid"
  else
    spawn "$STATE/prometheus" "$home/prometheus.log" prometheus --config.file="$home/config/prometheus.yml" \
      --storage.tsdb.path="$home/data" --storage.tsdb.retention.time=35d --web.listen-address="127.0.0.1:$PROMETHEUS_PORT"
  fi
  wait_http prometheus "http://127.0.0.1:$PROMETHEUS_PORT/-/ready" "$home/prometheus.log"
  wait_http postgres-exporter "http://127.0.0.1:$POSTGRES_EXPORTER_PORT/" "$home/postgres-exporter.log"
}


# grafana_home: the folder that a Grafana server finds its own files in.
grafana_home() {
  local server home
  server=$(command -v grafana || command -v grafana-server) || return 1
  server=$(readlink -f "$server")
  for home in "${GRAFANA_HOME:-}" /usr/share/grafana "$(dirname "$(dirname "$server")")"; do
    if [[ -n $home && -r $home/conf/defaults.ini ]]; then
      printf '%s\n' "$home"
      return
    fi
  done
  return 1
}

grafana_wanted() { [[ $observability == yes && $any_port == no ]] && grafana_home >/dev/null; }

# With the same provisioning as in docker-compose.yml, which names hosts by these variables.
start_grafana() {
  local home=$DIR/grafana server=(grafana server)
  mkdir -p "$home"
  have grafana || server=(grafana-server)
  if ! pid_of "$STATE/grafana" >/dev/null; then
    GF_PATHS_DATA=$home/data GF_PATHS_LOGS=$home/log GF_PATHS_PLUGINS=$home/plugins \
      GF_PATHS_PROVISIONING=$ROOT/grafana/provisioning DASHBOARDS_DIR=$ROOT/grafana/dashboards \
      GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT=$GRAFANA_PORT \
      GF_SECURITY_ADMIN_USER=${GRAFANA_ADMIN_USER:-admin} GF_SECURITY_ADMIN_PASSWORD=${GRAFANA_ADMIN_PASSWORD:-admin_password} \
      GF_AUTH_ANONYMOUS_ENABLED=true GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer GF_USERS_ALLOW_SIGN_UP=false \
      GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false \
      GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH=$ROOT/grafana/dashboards/pipeline/pipeline-overview.json \
      PROMETHEUS_URL=http://127.0.0.1:$PROMETHEUS_PORT POSTGRES_ADDRESS=127.0.0.1:$POSTGRES_PORT \
      POSTGRES_SSLMODE=$([[ -n $tls ]] && echo require || echo disable) \
      POSTGRES_DB=$POSTGRES_DB ACEQUIA_ANALYST_PASSWORD=$ACEQUIA_ANALYST_PASSWORD \
      spawn "$STATE/grafana" "$home/grafana.log" "${server[@]}" --homepath "$(grafana_home)"
  fi
  wait_http grafana "http://127.0.0.1:$GRAFANA_PORT/api/health" "$home/grafana.log"
}

wait_http() { # NAME URL LOG
  local i
  for ((i = 0; i < 300; i++)); do
    curl -sS -f -m 5 -o /dev/null "$2" 2>/dev/null && return
    pid_of "$STATE/$1" >/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$3" >&2
  die "$1 did not start, its log is $3"
}
