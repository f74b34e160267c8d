#!/usr/bin/env bash
# Puts known faults into the code, one at a time, and shows which seed of the simulation catches each.
#
# Every file in mutants/ is a patch whose first lines say what is wrong with it; each fault sleeps until DAVY_MUTANT names
# it. A line "Faults:" names the kinds of faults that bring it to light soonest. All are applied together to a copy of the tree, which is built once and never committed.
#   tests/sim/mutants.sh [seeds] [name …]     default: 2000 seeds at most for each, all names
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=${1:-2000}; shift || true
here=$PWD
# A folder that no other tree builds in: cargo takes what a copy of a tree left there for the tree's own.
target=${CARGO_TARGET_DIR:-$here/target}/mutants-sim
tree=$target/tree
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
    from=0
    faults=$(sed -n 's/^Faults: //p' "tests/sim/mutants/$name.patch")
    play=("$sim" --jobs 1 ${faults:+--faults "$faults"})
    while :; do
        if out=$(DAVY_MUTANT=$name "${play[@]}" --seeds "$seeds" --from "$from" --first 2>/dev/null); then
            printf '%-28s %-10s\n' "$name" 'NOT CAUGHT'
            missed=1
            break
        fi
        seed=$(grep -m1 -o 'SEED=[0-9]*' <<< "$out" | cut -d= -f2)
        # Only a seed that passes without the fault says anything about it.
        if "${play[@]}" --seeds 1 --from "$seed" > /dev/null 2>&1; then
            told=$(grep -m1 '^  at' <<< "$out" | cut -c1-120)
            printf '%-28s %-10s %s\n' "$name" "SEED=$seed" "$told"
            break
        fi
        from=$((seed + 1))
    done
done
exit $missed
