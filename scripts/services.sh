#!/usr/bin/env bash
# Private PostgreSQL and RabbitMQ servers (and Prometheus, if wanted) without Docker.
#
# services.sh install [--observability] [--tests]
#     Installs missing programs, from Debian's packages. Servers that were there before are left alone, and no
#     server of the system is started. --tests also gets what only the project's tests need (pgbouncer).
# services.sh start DIR [--observability] [--any-port] [--tls CERTS [--client-certificates]]
#     Starts the servers with their data in DIR, on 127.0.0.1 only, and writes their addresses to DIR/env. Waits until
#     they answer. May be repeated: running servers are kept, dead ones are started again on their data.
#     Ports are the usual ones (5432, 5672, 15672, 15692, 9187, 9090, 9093, 3000) or the next free ones;
#     with --any-port random free ones, so that several can run at once.
# services.sh stop DIR [--wipe]
#     Stops what start started, and nothing else. --wipe also deletes the data.
# services.sh run DIR [--observability] [--any-port] [--tls CERTS [--client-certificates]]
#     start, print READY, wait for the end of standard input, then stop --wipe. For tests: when the process that
#     holds the other end of the pipe is gone, so are the servers.
# services.sh status DIR
#     Lists the running servers and their logs.
# services.sh exec DIR COMMAND...
#     Runs a program of these servers where it finds them: rabbitmqctl knows the node, pg_dump is of the server's version.
#
# --observability adds Prometheus and its PostgreSQL exporter, Alertmanager and the node exporter (for PostgreSQL's disk) where
#     they are installed (install gets them if it can), and Grafana where it is installed (Debian has no package for it). Tests do
#     not need Grafana: --any-port starts none.
# --tls CERTS refuses connections without TLS: PostgreSQL by `hostssl`, RabbitMQ by amqps://. CERTS is a folder with ca.pem,
#     server.pem and server.key; each start reads it anew.
# --client-certificates also demands a certificate signed by ca.pem: RabbitMQ of everybody, PostgreSQL of the role
#     acequia_worker.
# Logs in DIR are bounded: beyond LOG_BYTES (50000000) a file is set aside as FILE.1, three such are kept.
# SERVERS_ROOT, a folder that scripts/servers.sh made, brings servers of another Debian release: they run under this one's
#     users, on the same paths. A DIR remembers it.
# A DIR keeps the version of PostgreSQL that wrote its data, even if a newer one is installed, and refuses a RabbitMQ that
#     cannot read its data.
# POSTGRES_OPTIONS, as 'max_connections=300 work_mem=64MB', takes the place of settings in config/postgresql.conf.
# Users, passwords and ports come from the environment or from .env (see .env.example); users and passwords are fixed
# at the first start of a DIR.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MIN_POSTGRES=15
# shellcheck source=scripts/services/packages.sh
source "$ROOT/scripts/services/packages.sh"
# shellcheck source=scripts/services/folder.sh
source "$ROOT/scripts/services/folder.sh"
# shellcheck source=scripts/services/postgresql.sh
source "$ROOT/scripts/services/postgresql.sh"
# shellcheck source=scripts/services/rabbitmq.sh
source "$ROOT/scripts/services/rabbitmq.sh"
# shellcheck source=scripts/services/observability.sh
source "$ROOT/scripts/services/observability.sh"

# bound_logs: all that grows without a limit of its own, for as long as the servers run. (RabbitMQ's log has one.)
bound_logs() {
  [[ $any_port == no ]] || return 0
  [[ ${LOG_BYTES:-50000000} =~ ^[0-9]+$ ]] || die "LOG_BYTES is a number of bytes, as 50000000"
  pid_of "$STATE/logs" >/dev/null ||
    spawn "$STATE/logs" "$STATE/logs.log" "$ROOT/scripts/services.sh" logs "$DIR"
}

# logs: bounds the logs of DIR until it is stopped.
logs() {
  while [[ -d $STATE ]]; do
    bound_log "${LOG_BYTES:-50000000}" "$DIR"/*.log "$DIR"/{prometheus,grafana}/*.log "$DIR/rabbitmq/log/stdout.log" \
      "$(pg_base)/server.log"
    sleep 10
  done
}

start() {
  local began=$SECONDS jobs=() failed=no job file
  load_dotenv
  require_installed
  mkdir -p "$DIR"
  install -d -m 700 "$STATE"
  exec 9>"$STATE/lock"
  flock -w 120 9 || die "another services.sh works on $DIR"
  [[ $(setting ports OBSERVABILITY) != yes ]] || observability=yes
  [[ $(setting ports ANY_PORT) != yes ]] || any_port=yes
  set_value "$STATE/ports" OBSERVABILITY "$observability"
  set_value "$STATE/ports" ANY_PORT "$any_port"
  set_value "$STATE/ports" SERVERS_ROOT "${SERVERS_ROOT:-}"
  tls=${tls:-$(setting ports TLS)}
  [[ $(setting ports CLIENT_CERTIFICATES) != yes ]] || client_certificates=yes
  [[ $client_certificates == no || -n $tls ]] || die "--client-certificates needs --tls CERTS"
  for file in ca.pem server.pem server.key; do
    [[ -z $tls || -r $tls/$file ]] || die "--tls: cannot read $tls/$file"
  done
  set_value "$STATE/ports" TLS "$tls"
  set_value "$STATE/ports" CLIENT_CERTIFICATES "$client_certificates"

  credential POSTGRES_USER app
  credential POSTGRES_PASSWORD app_password
  credential POSTGRES_DB payments
  credential RABBITMQ_USER app
  credential RABBITMQ_PASSWORD app_password
  # Always generated: nothing but these scripts needs it.
  POSTGRES_SUPERUSER_PASSWORD=
  credential POSTGRES_SUPERUSER_PASSWORD "$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')"
  role_password ACEQUIA_WORKER_PASSWORD worker_password
  role_password ACEQUIA_ARCHIVE_PASSWORD archive_password
  role_password ACEQUIA_OPERATOR_PASSWORD operator_password
  role_password ACEQUIA_API_PASSWORD api_password
  role_password ACEQUIA_ANALYST_PASSWORD analyst_password

  local rabbitmq_runs
  rabbitmq_runs=$(running pid_of "$STATE/rabbitmq")
  port POSTGRES_PORT 5432 "$(running pg_pid)"
  port AMQP_PORT 5672 "$rabbitmq_runs"
  port RABBITMQ_MANAGEMENT_PORT 15672 "$rabbitmq_runs"
  port RABBITMQ_METRICS_PORT 15692 "$rabbitmq_runs"
  # The worker is not ours to start, but Prometheus must know where it will be.
  port WORKER_PORT 9464 "$(running pid_of "$DIR/worker")"
  port API_PORT 8080 "$(running pid_of "$DIR/api")"
  if [[ $observability == yes ]]; then
    port NODE_EXPORTER_PORT 9100 "$(running pid_of "$STATE/node-exporter")"
    port PROMETHEUS_PORT 9090 "$(running pid_of "$STATE/prometheus")"
    port POSTGRES_EXPORTER_PORT 9187 "$(running pid_of "$STATE/postgres-exporter")"
    port ALERTMANAGER_PORT 9093 "$(running pid_of "$STATE/alertmanager")"
    ! grafana_wanted || port GRAFANA_PORT 3000 "$(running pid_of "$STATE/grafana")"
  fi
  # Nobody types these two.
  local asked=$any_port
  any_port=yes
  port EPMD_PORT 0 "$(running pid_of "$STATE/epmd")"
  port RABBITMQ_DIST_PORT 0 "$rabbitmq_runs"
  any_port=$asked

  prepare_postgres
  start_postgres &
  jobs+=($!)
  start_rabbitmq &
  jobs+=($!)
  if [[ $observability == yes ]]; then
    start_observability &
    jobs+=($!)
  fi
  if grafana_wanted; then
    start_grafana &
    jobs+=($!)
  fi
  for job in "${jobs[@]}"; do
    wait "$job" || failed=yes
  done
  [[ $failed == no ]] || die "not everything started, see above"
  write_env
  bound_logs
  release_claims WORKER_PORT API_PORT
  exec 9>&-
  say "services: ready after $((SECONDS - began)) s, addresses in $DIR/env"
}

write_env() {
  local db=127.0.0.1:$POSTGRES_PORT archive
  archive=${ARCHIVE_URL:-$(value_of "$DIR/env" ARCHIVE_URL)}
  (
    umask 077
    {
      echo "DATABASE_URL=postgresql://$POSTGRES_USER:$POSTGRES_PASSWORD@$db/$POSTGRES_DB"
      echo "ADMIN_DATABASE_URL=postgresql://postgres:$POSTGRES_SUPERUSER_PASSWORD@$db/postgres"
      echo "WORKER_DATABASE_URL=postgresql://acequia_worker:$ACEQUIA_WORKER_PASSWORD@$db/$POSTGRES_DB"
      echo "ARCHIVE_DATABASE_URL=postgresql://acequia_archive:$ACEQUIA_ARCHIVE_PASSWORD@$db/$POSTGRES_DB"
      echo "OPERATOR_DATABASE_URL=postgresql://acequia_operator:$ACEQUIA_OPERATOR_PASSWORD@$db/$POSTGRES_DB"
      echo "API_DATABASE_URL=postgresql://acequia_api:$ACEQUIA_API_PASSWORD@$db/$POSTGRES_DB"
      echo "ANALYST_DATABASE_URL=postgresql://acequia_analyst:$ACEQUIA_ANALYST_PASSWORD@$db/$POSTGRES_DB"
      echo "ACEQUIA_WORKER_PASSWORD=$ACEQUIA_WORKER_PASSWORD"
      echo "ACEQUIA_ARCHIVE_PASSWORD=$ACEQUIA_ARCHIVE_PASSWORD"
      echo "ACEQUIA_OPERATOR_PASSWORD=$ACEQUIA_OPERATOR_PASSWORD"
      echo "ACEQUIA_API_PASSWORD=$ACEQUIA_API_PASSWORD"
      echo "ACEQUIA_ANALYST_PASSWORD=$ACEQUIA_ANALYST_PASSWORD"
      echo "POSTGRES_SOCKET_DIR=$PGSOCKET"
      echo "POSTGRES_DATA_DIR=$(pg_base)/data"
      echo "AMQP_URL=amqp$([[ -z $tls ]] || echo s)://$RABBITMQ_USER:$RABBITMQ_PASSWORD@127.0.0.1:$AMQP_PORT/%2f"
      echo "RABBITMQ_MANAGEMENT_URL=http://127.0.0.1:$RABBITMQ_MANAGEMENT_PORT"
      echo "RABBITMQ_METRICS_URL=http://127.0.0.1:$RABBITMQ_METRICS_PORT/metrics"
      echo "RABBITMQ_USER=$RABBITMQ_USER"
      echo "RABBITMQ_PASSWORD=$RABBITMQ_PASSWORD"
      echo "WORKER_URL=http://127.0.0.1:$WORKER_PORT"
      echo "API_URL=http://127.0.0.1:$API_PORT"
      # For programs that are started under this file: `worker run` listens there, `worker health` asks there.
      echo "HTTP_ADDR=127.0.0.1:$WORKER_PORT"
      echo "ARCHIVE_URL=${archive:-file://$DIR/archive}"
      if [[ $observability == yes ]]; then
        echo "PROMETHEUS_URL=http://127.0.0.1:$PROMETHEUS_PORT"
        echo "POSTGRES_EXPORTER_URL=http://127.0.0.1:$POSTGRES_EXPORTER_PORT/metrics"
        ! have prometheus-alertmanager || echo "ALERTMANAGER_URL=http://127.0.0.1:$ALERTMANAGER_PORT"
        ! grafana_wanted || echo "GRAFANA_URL=http://127.0.0.1:$GRAFANA_PORT"
      fi
    } >"$DIR/env.new"
  )
  mv "$DIR/env.new" "$DIR/env"
}

stop() {
  if [[ ! -d $STATE ]]; then
    say "services: nothing was started in $DIR"
    return
  fi
  exec 9>"$STATE/lock"
  flock -w 120 9 || die "another services.sh works on $DIR"
  end_process "$STATE/logs" &
  end_process "$STATE/grafana" &
  end_process "$STATE/prometheus" "$([[ $wipe == yes ]] && echo KILL || echo TERM)" &
  end_process "$STATE/postgres-exporter" &
  end_process "$STATE/node-exporter" &
  end_process "$STATE/alertmanager" &
  stop_rabbitmq &
  stop_postgres &
  wait
  [[ ! -e $STATE/ports ]] || release_claims
  exec 9>&-
  if [[ $wipe == yes ]]; then
    local base socket
    base=$(pg_base)
    socket=$(setting ports PGSOCKET)
    [[ $socket != /tmp/acequia-* ]] || rm -rf "$socket"
    [[ $base != "/var/lib/acequia/$(id_of_dir)" ]] || { rm -rf "$base" && rmdir --ignore-fail-on-non-empty /var/lib/acequia; }
    rm -rf "$DIR/postgresql" "$DIR/rabbitmq" "$DIR/prometheus" "$DIR/grafana" "$DIR/env" "$STATE"
    rmdir "$DIR" 2>/dev/null || true
    say "services: stopped and wiped"
  else
    say "services: stopped, the data stays in $DIR"
  fi
}

run() {
  wipe=yes
  # Whatever ends this script ends the servers: end of input, a signal, a start that failed.
  # shellcheck disable=SC2317  # called by the trap
  finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP PIPE
    wait # an interrupted start: let its halves finish, so that nothing appears after we have cleaned up
    stop || true
    exit "$status"
  }
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP PIPE
  start
  echo READY
  while read -r _; do :; done
}

# in_servers COMMAND...
in_servers() {
  [[ -d $STATE ]] || die "nothing was started in $DIR"
  [[ $# -gt 0 ]] || die "exec: which command? See $0 --help"
  local environment
  rabbitmq_environment
  exec env "${environment[@]}" "PATH=$(pg_bin):$DIR/rabbitmq/server/sbin:$PATH" "$@"
}

status() {
  [[ -d $STATE ]] || die "nothing was started in $DIR"
  local name pid all=yes
  report() {
    if [[ -n $2 ]]; then echo "$1: running, process $2, log $3"; else
      echo "$1: not running, log $3"
      all=no
    fi
  }
  report postgresql "$(pg_pid || true)" "$(pg_base)/server.log"
  report rabbitmq "$(pid_of "$STATE/rabbitmq" || true)" "$DIR/rabbitmq/log"
  if [[ $(setting ports OBSERVABILITY) == yes ]]; then
    for name in prometheus postgres-exporter alertmanager node-exporter; do
      [[ $name != alertmanager && $name != node-exporter ]] || have "prometheus-$name" || continue
      pid=$(pid_of "$STATE/$name" || true)
      report "$name" "$pid" "$DIR/prometheus/$name.log"
    done
    [[ -z $(setting ports GRAFANA_PORT) ]] ||
      report grafana "$(pid_of "$STATE/grafana" || true)" "$DIR/grafana/grafana.log"
  fi
  [[ $all == yes ]]
}

main() {
  local command=${1:-} positional=() all=("$@")
  [[ $# -eq 0 ]] || shift
  if [[ $command == exec ]]; then
    use_dir "${1:-}"
    enter_root "${all[@]}"
    in_servers "${@:2}"
  fi
  observability=no tests=no any_port=no wipe=no tls='' client_certificates=no
  while [[ $# -gt 0 ]]; do
    case $1 in
      --observability) observability=yes ;;
      --tests) tests=yes ;;
      --any-port) any_port=yes ;;
      --wipe) wipe=yes ;;
      --client-certificates) client_certificates=yes ;;
      --tls)
        [[ -n ${2:-} ]] || die "--tls needs a folder, see $0 --help"
        tls=$(realpath -m -- "$2")
        shift
        ;;
      -h | --help) command=--help ;;
      -*) die "unknown option $1, see $0 --help" ;;
      *) positional+=("$1") ;;
    esac
    shift
  done
  case $command in
    -h | --help | help) print_help ;;
    install) install_packages ;;
    start | stop | run | status | logs)
      use_dir "${positional[0]:-}"
      [[ ${#positional[@]} -eq 1 ]] || die "one DIR, please, see $0 --help"
      enter_root "${all[@]}"
      "$command"
      ;;
    "") die "which command? See $0 --help" ;;
    *) die "unknown command $command, see $0 --help" ;;
  esac
}

main "$@"
