# shellcheck shell=bash
# The folder of the servers: addresses, credentials and ports that were recorded in it. Sourced by scripts/services.sh.
# shellcheck disable=SC2154  # options are set by services.sh

# DIR/env          addresses and passwords
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
  cd "$OLDPWD" || exit
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
