#!/usr/bin/env bash
# Measures how fast messages reach the core, in the same run as its limits and alternative programs.
#
# bench.sh [--scenario NAMES | --all] [--messages N] [--runs N] [--seconds S] [--rows N,...] [--rates N,...] [--seed N]
#          [--json] [--output FILE] [--write FILE] [--keep]
#          [--set NAME=VALUE]... [--statements]
#     --scenario NAMES  these, separated by commas (default drain,limits); `bench.sh --list` lists all names
#     --all             all but the very long ones
#     --messages N      messages in the queue (default 500000)
#     --runs N          how often each is played, each time on a new database; medians are reported (default 5)
#     --seconds S       length of each load with a fixed rate (default 60)
#     --rows N,...      rows in the core before the drains of scenario growth (default 1000000,5000000,20000000)
#     --rates N,...     messages per second of the loads of scenario latency (default 100,1000,5000,20000)
#     --seed N          other messages (default 1)
#     --json            print JSON instead of Markdown tables
#     --output FILE     also write JSON to FILE, after every run
#     --write FILE      put the tables between the lines <!-- bench:begin --> and <!-- bench:end --> of FILE
#     --keep            leave the programs' logs behind
#     --set NAME=VALUE  a setting of the workers (docs/operations.md), to see what it does; may be repeated
#     --statements      say after each run what PostgreSQL spent its time on; costs a few percent
# bench.sh --guard [--record]
#     --guard           compare the CPU that a small drain costs with testing/bench/recorded.json; fails when it has grown by much
#     --record          write the costs of now to that file
#
# It installs missing packages (scripts/services.sh install), builds with optimisation, and starts private servers on
# loopback with the settings of config/. Progress goes to standard error. Figures depend on the machine and on what else
# it does: compare those of one run. BENCH_PROFILE chooses another cargo profile (default release).
# Exit status: 0 everything was measured, 1 a run failed or messages are unaccounted for, 2 wrong usage, 130 or 143
# interrupted; the servers are stopped and their data deleted in every case.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command=run options=() record=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --all | --json | --keep | --statements) options+=("$1") ;;
    --scenario | --messages | --runs | --seconds | --seed | --rows | --rates | --output | --write | --set)
      if [[ -z ${2:-} ]]; then
        say "error: $1 needs a value"
        exit 2
      fi
      options+=("$1" "$2")
      shift
      ;;
    --list | --guard) command=${1#--} ;;
    --record) record=(--record) ;;
    -h | --help)
      print_help
      exit
      ;;
    *)
      say "error: unknown option $1, see $0 --help"
      exit 2
      ;;
  esac
  shift
done

profile=${BENCH_PROFILE:-release}
(cd "$ROOT" && CARGO_TERM_QUIET=true build_programs "$profile" worker publisher api bench >&2)
[[ $profile != dev ]] || profile=debug
bin=${CARGO_TARGET_DIR:-$ROOT/target}/$profile
[[ $command != list ]] || exec "$bin/bench" list
"$ROOT/scripts/services.sh" install >&2
[[ $command == run ]] || exec "$bin/bench" guard "${record[@]}" "$ROOT/testing/bench/recorded.json"
exec "$bin/bench" run "${options[@]}"
