# shellcheck shell=bash
# PostgreSQL. Sourced by scripts/services.sh.
# shellcheck disable=SC2154  # options are set by services.sh

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
    # shellcheck disable=SC2086  # a list
    [[ -z ${POSTGRES_OPTIONS:-} ]] || printf '%s\n' $POSTGRES_OPTIONS | as_pg tee -a "$base/private.conf" >/dev/null
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
