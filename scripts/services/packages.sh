# shellcheck shell=bash
# Which servers are installed, and their installation. Sourced by scripts/services.sh.
# shellcheck disable=SC2154  # options are set by services.sh

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

# Packages that start can do without.
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
