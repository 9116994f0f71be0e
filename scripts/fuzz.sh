#!/usr/bin/env bash
# Runs the fuzz targets (fuzz/README.md).
#
# fuzz.sh [SECONDS] [TARGET...]
#     SECONDS  for each target (default 30)
#     TARGET   only these: contract, envelope, guard, archive
#
# Needs cargo-fuzz (cargo install cargo-fuzz --locked) and a C++ compiler. Exit status 0 when nothing was found.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
  -h | --help)
    print_help
    exit
    ;;
esac
seconds=${1:-30}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "SECONDS must be a number, not $seconds" "see $0 --help"
targets=("${@:2}")
[[ ${#targets[@]} -gt 0 ]] || targets=(contract envelope guard archive)
cargo fuzz --version >/dev/null 2>&1 || die "cargo-fuzz is missing" "get it with: cargo install cargo-fuzz --locked"

cd "$ROOT/fuzz"
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "seeds/$target"
  echo "-- $target, $seconds s"
  # Without a sanitizer the stable toolchain does. Inputs may be as long as a frame's headers.
  cargo fuzz run --dev --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -max_len=16384 -timeout=10 -print_funcs=0 -print_final_stats=1 -verbosity=0
done
