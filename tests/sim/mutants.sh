#!/usr/bin/env bash
# Puts known faults into the code, one at a time, and shows which seed of the simulation catches each.
#
# Every file in mutants/ is a patch whose first lines say what is wrong with it; each fault sleeps until DAVY_MUTANT names
# it. All are applied together to a copy of the tree, which is built once and never committed.
#   tests/sim/mutants.sh [seeds] [name …]     default: 2000 seeds at most for each, all names
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=${1:-2000}; shift || true
here=$PWD
target=${CARGO_TARGET_DIR:-$here/target}
tree=$target/mutants-tree
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for patch in tests/sim/mutants/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi
mkdir -p "$tree"
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$tree" --no-same-permissions
# Building the console is no part of this.
mkdir -p "$tree/dashboards/dist"
for patch in tests/sim/mutants/*.patch; do
    (cd "$tree" && patch -s -p1 < "$here/$patch") || { echo "$patch no longer fits: mend it"; exit 1; }
done
(cd "$tree" && CARGO_TARGET_DIR="$target" "${CARGO:-cargo}" build -q ${MUTANTS_PROFILE:---release} -p sim --bin davy-sim)
sim=$target/${MUTANTS_FOLDER:-release}/davy-sim
missed=0
printf '%-28s %-10s %s\n' 'fault put in' 'caught by' 'as'
for name in "${names[@]}"; do
    if out=$(DAVY_MUTANT=$name RUST_BACKTRACE=0 "$sim" --seeds "$seeds" --first 2>/dev/null); then
        printf '%-28s %-10s\n' "$name" 'NOT CAUGHT'
        missed=1
    else
        line=$(grep -m1 '^ *FAILED' <<< "$out" || true)
        seed=$(grep -m1 -o 'SEED=[0-9]*' <<< "$out" | head -1 || true)
        printf '%-28s %-10s %s\n' "$name" "${seed:-?}" "${line##*: }"
    fi
done
exit $missed
