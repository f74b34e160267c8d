#!/usr/bin/env bash
# Faults put in on purpose: builds the centre from a copy of the sources with mutants.patch, runs the fault matrix with
# each of its faults in turn, and fails where one is not caught. Takes minutes; not part of `make test`.
#
#   tests/faults/mutants.sh [ROUNDS]       rounds for each, 24 unless said otherwise
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rounds=${1:-24}
target=${CARGO_TARGET_DIR:-$root/target}
cargo=${CARGO:-cargo}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

git -C "$root" ls-files -z | (cd "$root" && xargs -0 cp --parents -t "$copy")
[ -d "$root/dashboards/dist" ] && cp -r "$root/dashboards/dist" "$copy/dashboards/"
patch -s -p1 -d "$copy" <"$root/tests/faults/mutants.patch"
(cd "$copy" && CARGO_TARGET_DIR=$target/mutants $cargo build -p ingest -p gateway --bins --features ingest/failpoints,gateway/failpoints)
eval "$("$root/tests/servers/get.sh" --export influxd mosquitto)"

missed=0
for mutant in none ack-before-commit dedupe-forgets cursor-early history-pages; do
  out=$(DAVY_MUTANT=$mutant DAVY_FAILPOINT_DIR=$target/mutants/debug \
    "$target/debug/davy-faults" --rounds "$rounds" --seed 0 --stop-at-first 2>&1 || true)
  caught=$(grep -m1 '^BROKEN' <<<"$out" || true)
  printf '%-18s %s\n' "$mutant" "${caught:-nothing was noticed}"
  case $mutant in
    none) [ -z "$caught" ] || missed=1 ;;
    *) [ -n "$caught" ] || missed=1 ;;
  esac
done
exit $missed
