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
#     they are installed (install gets them if it can), and Grafana where it is installed (Debian has no package of it, and what tests start has no need for it: not with
#     --any-port).
# --tls CERTS refuses connections without TLS: PostgreSQL by `hostssl`, RabbitMQ by amqps://. CERTS is a folder with ca.pem,
#     server.pem and server.key; each start reads it anew.
# --client-certificates also demands a certificate signed by ca.pem: RabbitMQ of everybody, PostgreSQL of the role
#     acequia_worker.
# Logs in DIR are bounded: beyond LOG_BYTES (50000000) a file is set aside as FILE.1, three such are kept.
# SERVERS_ROOT, a folder that scripts/servers.sh made, brings servers of another Debian release: they run under this one's
#     users, on the same paths. A DIR remembers it.
# A DIR keeps the PostgreSQL that its data are of, also when a newer one is installed, and refuses a RabbitMQ that cannot
#     take its data over.
# Users, passwords and ports come from the environment or from .env (see .env.example); users and passwords are fixed
# at the first start of a DIR.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MIN_POSTGRES=15

# --- install ---------------------------------------------------------------------------------------------------

# pg_servers: the folders of PostgreSQL's programs on this machine, the newest last.
pg_servers() {
  local found
  found=$(find /usr/lib/postgresql /usr/pgsql-* -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V)
  [[ -n $found ]] || found=$(command -v initdb || true)
  [[ -z $found ]] || xargs -n 1 dirname <<<"$found"
}

pg_version_of() { "$1/postgres" --version | grep -oE '[0-9]+' | head -n 1; }

# pg_data_version: which PostgreSQL the data of DIR are of; empty while there are none.
pg_data_version() { [[ -z ${DIR:-} ]] || head -n 1 "$(pg_base)/data/PG_VERSION" 2>/dev/null || true; }

# pg_bin: the programs of the version that the data of DIR are of; without data those of the newest.
pg_bin() {
  local wanted bin found=
  wanted=$(pg_data_version)
  while IFS= read -r bin; do
    [[ -z $bin || ( -n $wanted && $(pg_version_of "$bin") != "$wanted" ) ]] || found=$bin
  done < <(pg_servers)
  [[ -n $found ]] || return 1
  printf '%s\n' "$found"
}

rabbitmq_server() {
  local file
  for file in /usr/lib/rabbitmq/bin/rabbitmq-server /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server; do
    if [[ -x $file ]]; then
      printf '%s\n' "$file"
      return
    fi
  done
  return 1
}

# minor_of VERSION: its first two numbers.
minor_of() { grep -oE '[0-9]+\.[0-9]+' <<<"$1" | head -n 1; }

# require_rabbitmq_takes: RabbitMQ reads the data of a few older series only, and none of newer ones.
require_rabbitmq_takes() {
  local from to
  from=$(minor_of "$(readlink "$DIR/rabbitmq/server/sbin" | grep -o 'rabbitmq_server-[^/]*')") || return 0
  to=$(minor_of "$(readlink -f "$(rabbitmq_server)" | grep -o 'rabbitmq_server-[^/]*')") || return 0
  case $from-$to in
    "$to-$to" | 3.10-3.11 | 3.11-3.12 | 3.12-3.13 | 3.13-4.[0-2] | 4.0-4.[12] | 4.1-4.2 | 4.2-4.3) ;;
    *) die "the queues in $DIR were written by RabbitMQ $from, and RabbitMQ $to does not read them" \
      "with RabbitMQ $from: stop the publishers and let the worker empty the queues (worker doctor shows them)" \
      "then delete $DIR/rabbitmq and start again: the worker declares what it needs" ;;
  esac
}

missing_packages() {
  [[ -n $(pg_servers) ]] || echo postgresql
  rabbitmq_server >/dev/null || echo rabbitmq-server
  have curl || echo curl
  if [[ $observability == yes ]]; then
    have prometheus && have promtool || echo prometheus
    have prometheus-postgres-exporter || echo prometheus-postgres-exporter
  fi
  [[ ${tests:-no} == no ]] || have pgbouncer || echo pgbouncer
}

# What start does without when it is not there.
optional_packages() {
  local program
  [[ $observability == no ]] || for program in prometheus-alertmanager prometheus-node-exporter; do
    have "$program" || echo "$program"
  done
}

require_installed() {
  local missing
  missing=$(missing_packages | paste -sd ' ')
  [[ -z $missing ]] || die "not installed: $missing" \
    "get it with: $0 install$([[ $observability == no ]] || echo ' --observability')"
  local version bin found
  if ! bin=$(pg_bin); then
    version=$(pg_data_version)
    die "the data in $DIR are of PostgreSQL $version; here is only $(pg_servers | while IFS= read -r found; do pg_version_of "$found"; done | paste -sd ' ')" \
      "install that one (apt-get install postgresql-$version), or take the data over: docs/operations/upgrade.md"
  fi
  version=$(pg_version_of "$bin")
  ((version >= MIN_POSTGRES)) || die "PostgreSQL $version is too old: $MIN_POSTGRES or newer is needed"
  [[ -z ${DIR:-} ]] || require_rabbitmq_takes
}

install_packages() {
  local missing created=() file
  local optional
  missing=$(missing_packages | paste -sd ' ')
  optional=$(optional_packages | paste -sd ' ')
  if [[ -z $missing && ( -z $optional || -z $(command -v apt-get) ) ]]; then
    say "install: everything is there"
    return
  fi
  have apt-get || [[ -z $missing ]] || die "not installed: $missing, and there is no apt-get here" \
    "install PostgreSQL $MIN_POSTGRES+, RabbitMQ 3.10+ and curl (for --observability also Prometheus and postgres_exporter) yourself"
  say "install: $missing $optional"

  # Debian starts a server as soon as it is installed; while these files exist, it does not.
  undo_install() {
    [[ ${#created[@]} -eq 0 ]] || as_root rm -f "${created[@]}"
  }
  trap undo_install EXIT
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    created+=(/usr/sbin/policy-rc.d)
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
  fi
  file=/etc/postgresql-common/createcluster.d/acequia-install.conf
  if [[ " $missing " == *" postgresql "* && ! -e $file ]]; then
    created+=("$file")
    as_root mkdir -p "${file%/*}"
    echo "create_main_cluster = false" | as_root tee "$file" >/dev/null
  fi

  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Options::=--force-confold)
  # shellcheck disable=SC2086  # a list of package names
  if [[ -n $missing ]] && ! as_root "${apt[@]}" install --no-install-recommends --no-upgrade $missing </dev/null; then
    say "install: refreshing the package lists and trying again"
    as_root "${apt[@]}" update </dev/null
    as_root "${apt[@]}" install --no-install-recommends --no-upgrade $missing </dev/null ||
      die "apt-get could not install: $missing"
  fi
  # shellcheck disable=SC2086  # a list of package names
  [[ -z $optional ]] || as_root "${apt[@]}" install --no-install-recommends --no-upgrade $optional </dev/null ||
    say "install: doing without $optional"
  undo_install
  trap - EXIT
  require_installed
  say "install: done"
}

# --- where things are ------------------------------------------------------------------------------------------
# DIR/env          addresses and passwords, for everybody who wants to connect
# DIR/state/       ports, credentials, process ids
# DIR/postgresql   data, log, socket; a link into /var/lib/acequia where DIR cannot be reached by user postgres
# DIR/rabbitmq, DIR/prometheus, DIR/grafana

use_dir() {
  [[ -n ${1:-} ]] || die "which DIR? See $0 --help"
  [[ $1 != -* ]] || die "unknown option $1, see $0 --help"
  DIR=$(realpath -m -- "$1")
  [[ $DIR =~ ^/[A-Za-z0-9_./@+-]+$ ]] || die "not possible in '$DIR'" \
    "RabbitMQ starts only where the path has no spaces, quotes or the like: choose another DIR"
  STATE=$DIR/state
  cd / # user postgres may not be allowed to stand where we do
}

setting() { value_of "$STATE/$1" "$2"; }

# enter_root ARGUMENT...: this script again, with the programs of SERVERS_ROOT under /usr, for itself and what it starts.
# Everything else of this machine stays where it is: users, data, /tmp, /proc.
enter_root() {
  local known
  known=$(setting ports SERVERS_ROOT)
  SERVERS_ROOT=${SERVERS_ROOT:-$known}
  [[ -n $SERVERS_ROOT ]] || return 0
  cd "$OLDPWD"
  SERVERS_ROOT=$(realpath -m -- "$SERVERS_ROOT")
  [[ -z $known || $SERVERS_ROOT -ef $known ]] ||
    die "$DIR belongs to the servers of $known, not to those of SERVERS_ROOT=$SERVERS_ROOT"
  if [[ /usr -ef $SERVERS_ROOT/usr ]]; then
    cd /
    return
  fi
  [[ -x $SERVERS_ROOT/usr/bin/bash ]] || die "there are no servers in SERVERS_ROOT=$SERVERS_ROOT" \
    "make them with: scripts/servers.sh trixie"
  [[ $EUID -eq 0 ]] || die "SERVERS_ROOT needs root, to mount it"
  [[ $ROOT/ != /usr/* && $DIR/ != /usr/* ]] || die "with SERVERS_ROOT nothing of ours may be below /usr"
  export SERVERS_ROOT
  # shellcheck disable=SC2016  # for the inner shell
  exec unshare --mount --propagation slave bash -c 'mount --bind "$SERVERS_ROOT/usr" /usr && exec "$@"' _ \
    "$ROOT/scripts/services.sh" "$@"
}

id_of_dir() { printf '%s' "$DIR" | sha256sum | cut -c 1-12; }

# credential NAME DEFAULT: the value recorded at the first start; before that the environment's, or the default.
credential() {
  local name=$1 wanted=${!1:-} known
  known=$(setting credentials "$name")
  if [[ -n $known && -n $wanted && $known != "$wanted" ]]; then
    say "note: $name is kept as it was at the first start of $DIR (stop --wipe to begin anew)"
  fi
  known=${known:-${wanted:-$2}}
  [[ $known =~ ^[A-Za-z0-9_.~-]+$ ]] ||
    die "$name may contain letters, digits and . _ ~ - only: it becomes part of addresses"
  [[ $(setting credentials "$name") == "$known" ]] || set_value "$STATE/credentials" "$name" "$known"
  printf -v "$name" %s "$known"
}

# role_password NAME DEFAULT: of a role the migrations create; each `worker migrate` sets it, so it may change.
role_password() {
  [[ -z ${!1:-} ]] || set_value "$STATE/credentials" "$1" "${!1}"
  credential "$1" "$2"
}

# port NAME DEFAULT RUNNING: keeps the recorded port while it is ours or free, else finds one.
port() {
  local name=$1 wanted=${!1:-$2} running=$3 known
  known=$(setting ports "$name")
  if [[ -z $known ]] || { [[ $running == no ]] && port_open "$known"; }; then
    if [[ $any_port == yes ]]; then known=$(free_port); else known=$(free_port "$wanted"); fi
    set_value "$STATE/ports" "$name" "$known"
    [[ $any_port == yes || $known == "$wanted" ]] || say "note: port $wanted is taken, using $known ($name)"
  fi
  printf -v "$name" %s "$known"
}

# release_claims [EXCEPT]
release_claims() {
  # shellcheck disable=SC2046  # numbers
  release_ports $(sed -n "/^${1:-none}=/d; s/^[A-Z_]*_PORT=//p" "$STATE/ports")
}

running() { if "$@" >/dev/null; then echo yes; else echo no; fi; }

# --- PostgreSQL ------------------------------------------------------------------------------------------------

# The server refuses to run as root, so root hands it to user postgres.
as_pg() { if [[ $EUID -eq 0 ]]; then runuser -u postgres -- "$@"; else "$@"; fi; }

pg_base() { readlink -f "$DIR/postgresql"; }

pg_pid() {
  local data pid
  data=$(pg_base)/data
  pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
  [[ $(readlink "/proc/$pid/cwd") == "$data" ]] || return 1
  printf '%s\n' "$pid"
}

# pg_processes: is any process of this cluster left? (They all work in its data folder.)
pg_processes() { find /proc/[0-9]*/cwd -maxdepth 0 -printf '%l\n' 2>/dev/null | grep -Fxq "$(pg_base)/data"; }

super_psql() {
  local host=127.0.0.1
  [[ -z $tls ]] || host=$PGSOCKET
  PGPASSWORD=$POSTGRES_SUPERUSER_PASSWORD PGCONNECT_TIMEOUT=5 "$(pg_bin)/psql" --no-psqlrc --quiet --tuples-only --no-align \
    --set ON_ERROR_STOP=1 -h "$host" -p "$POSTGRES_PORT" -U postgres -d postgres "$@"
}

prepare_postgres() {
  local base=$DIR/postgresql
  if [[ ! -e $base ]]; then
    rm -f "$base" # a link to a folder that is gone
    if [[ $EUID -eq 0 ]]; then
      id postgres >/dev/null 2>&1 || die "there is no user postgres to run PostgreSQL as" "get it with: $0 install"
      if ! as_pg test -x "$DIR"; then
        base=/var/lib/acequia/$(id_of_dir)
        install -d -m 755 /var/lib/acequia
        ln -s "$base" "$DIR/postgresql"
      fi
      install -d -o postgres -g postgres -m 700 "$base"
    else
      install -d -m 700 "$base"
    fi
  fi
  base=$(pg_base)

  # A socket's path may have 107 bytes.
  if [[ ${#base} -le 85 ]]; then
    PGSOCKET=$base/socket
  else
    PGSOCKET=$(setting ports PGSOCKET)
    if [[ ! -d $PGSOCKET ]]; then
      PGSOCKET=$(as_pg mktemp -d /tmp/acequia-XXXXXXXX)
      set_value "$STATE/ports" PGSOCKET "$PGSOCKET"
    fi
  fi
  as_pg mkdir -p -m 700 "$PGSOCKET"
}

# postgres_tls BASE: certificates and rules of access; prints the settings.
postgres_tls() {
  local file
  for file in ca.pem server.pem server.key; do
    as_pg tee "$1/$file.new" <"$tls/$file" >/dev/null
    as_pg chmod 600 "$1/$file.new"
    as_pg mv "$1/$file.new" "$1/$file"
  done
  {
    echo "local all all scram-sha-256"
    [[ $client_certificates == no ]] || echo "hostssl all acequia_worker all scram-sha-256 clientcert=verify-ca"
    echo "hostssl all all all scram-sha-256"
  } | as_pg tee "$1/pg_hba.conf" >/dev/null
  cat <<CONF
hba_file = '$1/pg_hba.conf'
ssl = on
ssl_ca_file = '$1/ca.pem'
ssl_cert_file = '$1/server.pem'
ssl_key_file = '$1/server.key'
CONF
}

start_postgres() {
  local base bin i
  base=$(pg_base)
  bin=$(pg_bin)
  if ! pg_pid >/dev/null; then
    if [[ ! -e $base/data/PG_VERSION ]]; then
      as_pg rm -rf "$base/data"
      as_pg tee "$base/pwfile" <<<"$POSTGRES_SUPERUSER_PASSWORD" >/dev/null # in a folder of mode 700
      # Texts in the order of their bytes, by comparing bytes: C.UTF-8 gives the same order by asking the C library.
      as_pg env LC_ALL=C.UTF-8 "$bin/initdb" --pgdata "$base/data.new" --username postgres --pwfile "$base/pwfile" \
        --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 --lc-collate C --no-sync >"$STATE/initdb.log" 2>&1 9>&- ||
        { tail -n 20 "$STATE/initdb.log" >&2; die "initdb failed"; }
      as_pg rm "$base/pwfile"
      printf "\ninclude '%s'\n" "$base/postgresql.conf" "$base/private.conf" |
        as_pg tee -a "$base/data.new/postgresql.conf" >/dev/null
      as_pg mv "$base/data.new" "$base/data"
      sync -f "$base/data"
    fi
    # Copies, because user postgres may not be able to read this checkout.
    as_pg tee "$base/postgresql.conf" <"$ROOT/config/postgresql.conf" >/dev/null
    as_pg tee "$base/private.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
unix_socket_directories = '$PGSOCKET'
CONF
    [[ -z $tls ]] || postgres_tls "$base" | as_pg tee -a "$base/private.conf" >/dev/null
    # A server that was killed leaves its lock files, and for a moment its last processes. Without them the files mean
    # nothing, but a process number that is in use again (or not yet freed) would keep the new server from starting.
    for ((i = 0; i < 300; i++)); do
      pg_processes || break
      sleep 0.1
    done
    pg_processes || as_pg rm -f "$base/data/postmaster.pid" "$PGSOCKET/.s.PGSQL.$POSTGRES_PORT.lock"
    if ! as_pg "$bin/pg_ctl" start -s -w -t 60 -D "$base/data" -l "$base/server.log" </dev/null >"$STATE/pg_ctl.log" 2>&1 9>&-; then
      as_pg tail -n 20 "$base/server.log" >&2 || cat "$STATE/pg_ctl.log" >&2
      die "PostgreSQL did not start, its log is $base/server.log"
    fi
  fi
  if ! as_pg test -e "$base/ready"; then
    super_psql --set "app_user=$POSTGRES_USER" --set "app_password=$POSTGRES_PASSWORD" --set "app_db=$POSTGRES_DB" \
      --file "$ROOT/config/postgres-init.sql" >/dev/null
    as_pg touch "$base/ready"
  fi
  [[ $(super_psql --command 'select 1') == 1 ]] || die "PostgreSQL does not answer on port $POSTGRES_PORT"
}

stop_postgres() {
  local base pid i
  base=$(pg_base)
  pid=$(pg_pid) || return 0
  # A server about to be deleted needs no checkpoint.
  as_pg "$(pg_bin)/pg_ctl" stop -s -w -t 60 -D "$base/data" -m "$([[ $wipe == yes ]] && echo immediate || echo fast)" \
    </dev/null >/dev/null 2>&1 || true
  for ((i = 0; i < 50; i++)); do
    [[ $(pg_pid) == "$pid" ]] || return 0
    sleep 0.1
  done
  say "PostgreSQL (process $pid) did not stop: killing it"
  kill -KILL "$pid" 2>/dev/null || true
}

# --- RabbitMQ --------------------------------------------------------------------------------------------------

# The server tries every folder of its plugins for each of some thousand modules it loads. A view of it that leaves
# out the plugins nobody enabled (of those named rabbitmq_...) starts in 6 s instead of 9 s.
rabbitmq_view() { # INTO
  local server plugin
  server=$(dirname "$(dirname "$(readlink -f "$(rabbitmq_server)")")")
  rm -rf "$1"
  mkdir -p "$1/plugins"
  ln -s "$server/sbin" "$1/sbin"
  ln -s "$server/escript" "$1/escript"
  for plugin in "$server"/plugins/*; do
    case ${plugin##*/} in
      rabbitmq_management-* | rabbitmq_management_agent-* | rabbitmq_web_dispatch-* | rabbitmq_prometheus-* | rabbitmq_prelaunch-*) ;;
      rabbitmq_*) continue ;;
    esac
    ln -s "$plugin" "$1/plugins/"
  done
}

# rabbitmq_listener HOME: the settings of the port for AMQP.
rabbitmq_listener() {
  if [[ -z $tls ]]; then
    echo "listeners.tcp.1 = 127.0.0.1:$AMQP_PORT"
    return
  fi
  (umask 077 && mkdir -p "$1/certs" && cp "$tls"/{ca.pem,server.pem,server.key} "$1/certs/")
  cat <<CONF
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:$AMQP_PORT
ssl_options.cacertfile = $1/certs/ca.pem
ssl_options.certfile = $1/certs/server.pem
ssl_options.keyfile = $1/certs/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = $([[ $client_certificates == yes ]] && echo true || echo false)
CONF
}

# rabbitmq_environment: sets `environment`, by which server and command line find each other.
rabbitmq_environment() {
  local home=$DIR/rabbitmq
  # A port mapper of our own, so that stopping it disturbs nobody.
  environment=(
    "HOME=$home/home"
    "ERL_CRASH_DUMP=$home/log/erl_crash.dump"
    "ERL_EPMD_PORT=$(setting ports EPMD_PORT)"
    "ERL_EPMD_ADDRESS=127.0.0.1"
    "RABBITMQ_NODENAME=acequia-$(id_of_dir)@localhost"
    "RABBITMQ_MNESIA_BASE=$home/data"
    "RABBITMQ_LOG_BASE=$home/log"
    "RABBITMQ_PLUGINS_EXPAND_DIR=$home/plugins-expand"
    "RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins"
    "RABBITMQ_CONF_ENV_FILE=$home/rabbitmq-env.conf"
    "RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf"
    "RABBITMQ_CONFIG_FILES=$home/conf.d"
    "RABBITMQ_ADVANCED_CONFIG_FILE=$home/advanced.config"
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
    "RUNNING_UNDER_SYSTEMD=true" # makes its start script become the server instead of waiting beside it
  )
}

start_rabbitmq() {
  local home=$DIR/rabbitmq node i environment
  node=acequia-$(id_of_dir)@localhost
  if ! pid_of "$STATE/rabbitmq" >/dev/null; then
    mkdir -p "$home/data" "$home/log" "$home/home" "$home/conf.d"
    rabbitmq_view "$home/server"
    if [[ ! -s $home/home/.erlang.cookie ]]; then
      (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$home/home/.erlang.cookie")
      chmod 400 "$home/home/.erlang.cookie"
    fi
    cp "$ROOT/config/enabled_plugins" "$home/enabled_plugins"
    cp "$ROOT/config/rabbitmq-env.conf" "$home/rabbitmq-env.conf"
    echo '[].' >"$home/advanced.config"
    (
      umask 077
      cat "$ROOT/config/rabbitmq.conf" - >"$home/rabbitmq.conf" <<CONF

# --- added by services.sh
$(rabbitmq_listener "$home")
management.tcp.ip = 127.0.0.1
management.tcp.port = $RABBITMQ_MANAGEMENT_PORT
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $RABBITMQ_METRICS_PORT
default_user = $RABBITMQ_USER
default_pass = $RABBITMQ_PASSWORD
default_user_tags.administrator = true
CONF
    )
    rabbitmq_environment
    if ! pid_of "$STATE/epmd" >/dev/null; then
      spawn "$STATE/epmd" "$home/log/epmd.log" env -u NOTIFY_SOCKET "${environment[@]}" epmd -port "$EPMD_PORT" -address 127.0.0.1
    fi
    spawn "$STATE/rabbitmq" "$home/log/stdout.log" env -u NOTIFY_SOCKET "${environment[@]}" \
      "RABBITMQ_DIST_PORT=$RABBITMQ_DIST_PORT" "$home/server/sbin/rabbitmq-server"
  fi
  for ((i = 0; i < 600; i++)); do
    if rabbitmq_answers; then
      rabbitmq_get /api/health/checks/local-alarms >/dev/null 2>&1 ||
        say "warning: RabbitMQ has raised an alarm (too little free disk or memory): it blocks publishers"
      return
    fi
    pid_of "$STATE/rabbitmq" >/dev/null || break
    sleep 0.1
  done
  cat "$home/log/stdout.log" "$home/log/$node.log" 2>/dev/null | tail -n 30 >&2
  die "RabbitMQ did not start, its logs are in $home/log"
}

rabbitmq_get() {
  curl -sS -f -m 5 -K - "http://127.0.0.1:$RABBITMQ_MANAGEMENT_PORT$1" <<<"user = \"$RABBITMQ_USER:$RABBITMQ_PASSWORD\""
}

# An AMQP 0-9-1 greeting is answered by a frame of type 1; the pages come up a little before or after that.
rabbitmq_greets() {
  [[ -z $tls ]] || return 0 # the shell does not speak TLS
  # shellcheck disable=SC2016  # for the inner shell
  timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "AMQP\0\0\x09\x01" >&3 &&
      IFS= read -r -N 1 -t 4 type <&3 && [[ $type == $'"'\\x01'"' ]]' _ "$AMQP_PORT" 2>/dev/null
}

rabbitmq_answers() {
  port_open "$AMQP_PORT" && port_open "$RABBITMQ_MANAGEMENT_PORT" && port_open "$RABBITMQ_METRICS_PORT" &&
    rabbitmq_greets && rabbitmq_get /api/whoami >/dev/null 2>&1
}

stop_rabbitmq() {
  end_process "$STATE/rabbitmq" "$([[ $wipe == yes ]] && echo KILL || echo TERM)" 60
  end_process "$STATE/epmd" TERM 5
}

# --- Prometheus ------------------------------------------------------------------------------------------------

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

# --- Grafana ---------------------------------------------------------------------------------------------------

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

# --- start, stop, run, status ----------------------------------------------------------------------------------

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
