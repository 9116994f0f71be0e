# shellcheck shell=bash
# Functions that the scripts in this folder share. Source it; it does nothing by itself.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  [[ $# -eq 0 ]] || printf '       %s\n' "$@" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# print_help: the comment block at the top of the calling script is its help text.
print_help() { sed -n '2,/^[^#]/{/^# shellcheck/d;/^#/s/^# \{0,1\}//p}' "$0"; }

# Every build in the development profile compiles alike, so that none compiles again what another one has compiled:
# with Clippy's driver, which is the compiler with more lints, where it is installed; with the features of all members;
# with a test among the targets, since the tests' dependencies add features to those of the programs.

compile_by_clippy() {
  local driver
  driver=$(rustc --print sysroot 2>/dev/null || true)/bin/clippy-driver
  [[ ! -x $driver ]] || export RUSTC_WORKSPACE_WRAPPER=$driver
}

# build_programs PROFILE PROGRAM...
build_programs() {
  local profile=$1 targets=()
  shift
  if [[ $profile == dev ]]; then
    compile_by_clippy
    targets+=(--test merges)
  fi
  cargo build --locked --profile "$profile" --workspace "${targets[@]}" "${@/#/--bin=}"
}

# load_dotenv: KEY=value lines of .env become variables, unless the environment already has them. Nothing is executed.
load_dotenv() {
  local line key value
  [[ -r $ROOT/.env ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]%$'\r'}
    if [[ $value =~ ^\"(.*)\"[[:space:]]*$ || $value =~ ^\'(.*)\'[[:space:]]*$ ]]; then
      value=${BASH_REMATCH[1]}
    else
      value=${value%%[[:space:]]#*}
      value=${value%"${value##*[![:space:]]}"}
    fi
    [[ -n ${!key+set} ]] || export "$key=$value"
  done <"$ROOT/.env"
}

# value_of FILE KEY: the value of a KEY=value line, empty when there is none.
value_of() { [[ ! -r $1 ]] || sed -n "s/^$2=//p" "$1" | tail -n 1; }

# set_value FILE KEY VALUE: adds or replaces the line, in one step.
set_value() {
  local file=$1 key=$2 value=$3
  (
    umask 077
    { [[ ! -e $file ]] || grep -v "^$key=" "$file" || true; printf '%s=%s\n' "$key" "$value"; } >"$file.new"
  )
  mv "$file.new" "$file"
}

# --- Processes -------------------------------------------------------------------------------------------------
# BASE.pid holds the process id and BASE.started its start time, so that a number the system has given to another
# process since is never taken for ours.

start_time_of() {
  local stat
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
  stat=${stat##*) } # the command name may contain anything; fields count from its closing bracket
  local fields
  IFS=' ' read -ra fields <<<"$stat"
  [[ ${#fields[@]} -gt 19 && ${fields[0]} != Z ]] || return 1
  printf '%s\n' "${fields[19]}"
}

record_pid() { # BASE PID
  start_time_of "$2" >"$1.started" || true
  printf '%s\n' "$2" >"$1.pid"
}

# pid_of BASE: prints the id if that very process still runs.
pid_of() {
  local pid
  [[ -r $1.pid && -r $1.started ]] || return 1
  read -r pid <"$1.pid" || return 1
  [[ $pid =~ ^[0-9]+$ && $(start_time_of "$pid") == "$(<"$1.started")" ]] || return 1
  printf '%s\n' "$pid"
}

# spawn BASE LOG COMMAND...: in a session of its own, with none of our file descriptors.
spawn() {
  local base=$1 log=$2
  shift 2
  setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
  record_pid "$base" $!
}

# end_process BASE [SIGNAL [SECONDS]]: signals, waits, and kills a process that did not end.
end_process() {
  local base=$1 signal=${2:-TERM} seconds=${3:-20} pid i
  if pid=$(pid_of "$base"); then
    kill -"$signal" "$pid" 2>/dev/null || true
    for ((i = 0; i < seconds * 10; i++)); do
      pid_of "$base" >/dev/null || break
      sleep 0.1
    done
    if pid_of "$base" >/dev/null; then
      say "process $pid did not stop within $seconds s: killing it"
      kill -KILL "$pid" 2>/dev/null || true
    fi
  fi
  rm -f "$base.pid" "$base.started"
}

# --- Logs ------------------------------------------------------------------------------------------------------
# bound_log BYTES FILE...: a file that has grown beyond BYTES becomes FILE.1, that one FILE.2, three in all. The writer
# keeps its file, which is emptied: it appends, so that it goes on at the beginning.
bound_log() {
  local bytes=$1 file i
  shift
  for file; do
    [[ -f $file && $(stat -c %s "$file") -gt $bytes ]] || continue
    for ((i = 2; i > 0; i--)); do
      [[ ! -e $file.$i ]] || mv "$file.$i" "$file.$((i + 1))"
    done
    cp -p "$file" "$file.1"
    : >"$file"
  done
}

# --- Ports -----------------------------------------------------------------------------------------------------
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Two of these scripts that run at the same time must not choose the same port before either listens on it.
port_claims=${TMPDIR:-/tmp}/acequia-ports-$UID
claim_port() {
  [[ -d $port_claims ]] || install -d -m 700 "$port_claims"
  [[ -O $port_claims ]] || die "$port_claims belongs to another user: remove it or set TMPDIR"
  (
    flock 8
    find "$port_claims" -type f -name '[0-9]*' -mmin +2 -delete
    [[ ! -e $port_claims/$1 ]] && ! port_open "$1" && : >"$port_claims/$1"
  ) 8>"$port_claims/lock"
}

# release_ports PORT...: the claims are of no use once somebody listens there, or nobody is going to.
release_ports() {
  local port
  for port; do rm -f "$port_claims/$port"; done
}

# free_port [FIRST]: a free port from FIRST on; without FIRST a random one below the range of outgoing connections.
free_port() {
  local port tries
  for ((tries = 0; tries < 500; tries++)); do
    if [[ -n ${1:-} ]]; then port=$(($1 + tries)); else port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)); fi
    if claim_port "$port"; then
      printf '%s\n' "$port"
      return
    fi
  done
  die "found no free port"
}

# --- Installing ------------------------------------------------------------------------------------------------
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "this needs root: run it as root, or install sudo" "the command was: $*"
  fi
}
