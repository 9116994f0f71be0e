#!/usr/bin/env bash
# Breaks servers, processes and connections while messages flow, and checks every single message.
#
# faults.sh [--quick | --long] [--seed N] [--json FILE] [--markdown FILE] [--observe FILE] [SCENARIO...]
#     --quick          as often as in the tests (the default)
#     --long           as often as in docs/reliability.md; all scenarios take about half an hour
#     --seed N         another load and other moments (default 1)
#     --json FILE      write the outcomes as JSON
#     --markdown FILE  write the outcomes as the table of docs/reliability.md
#     --observe FILE   let Prometheus look on, and write which panels and alerts show each fault, and how soon, as the table
#                      of docs/observability.md; in this file the rows of other scenarios stay
#     SCENARIO...      only these; `faults.sh --list` names them
#
# It installs missing packages (scripts/services.sh install), builds with optimisation and with the fail points (cargo
# profile `faults`), and starts private servers on loopback. The scenario disk-full needs root, for a small file system.
# Exit status 0 when nothing was lost, nothing doubled, and every recovery in time.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command=run options=() names=() observability=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) ;;
    --long) options+=(--long) ;;
    --observe) options+=("$1" "${2:?$1 needs a value}") && observability=(--observability) && shift ;;
    --seed | --json | --markdown) options+=("$1" "${2:?$1 needs a value}") && shift ;;
    --list) command=list ;;
    -h | --help)
      print_help
      exit
      ;;
    -*) die "unknown option $1, see $0 --help" ;;
    *) names+=("$1") ;;
  esac
  shift
done

# FAULTS_PROFILE=dev takes what `cargo test` has built: slower to run, quicker to begin.
profile=${FAULTS_PROFILE:-faults}
folder=$profile
[[ $profile != dev ]] || folder=debug
(cd "$ROOT" && CARGO_TERM_QUIET=true build_programs "$profile" worker faults >&2)
bin=${CARGO_TARGET_DIR:-$ROOT/target}/$folder
if [[ $command == list ]]; then exec "$bin/faults" list; fi
"$ROOT/scripts/services.sh" install "${observability[@]}" >&2
export FAULTS_WORKER=$bin/worker
exec "$bin/faults" run "${options[@]}" "${names[@]}"
