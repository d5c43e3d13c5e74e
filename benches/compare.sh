#!/bin/bash
# Measures tlscope beside the floor (examples/floor.rs) and every peer found, on generated captures, and
# prints one Markdown table. Tools take turns, so that a noisy minute hits all of them; figures are medians.
#
#   benches/compare.sh [--size 520MB] [--runs 5] [--mixes "bulk mixed handshake"] [--only "floor mercury"]
#
# Peers are looked for on PATH; MERCURY=/path/to/mercury and the like name others. See benches/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

size=520MB runs=5 mixes="bulk mixed handshake" only=""
while [ $# -gt 0 ]; do
    case "$1" in
        --size) size=$2 ;;
        --runs) runs=$2 ;;
        --mixes) mixes=$2 ;;
        --only) only=$2 ;;
        *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done

folder=target/bench
mkdir -p "$folder"
if [ -z "${TLSCOPE:-}" ]; then
    cargo build --release --quiet --bin tlscope --example generate --example floor
fi
export TLSCOPE=${TLSCOPE:-target/release/tlscope}
export FLOOR=${FLOOR:-target/release/examples/floor}
generate=${GENERATE:-target/release/examples/generate}

for mix in $mixes; do
    capture=$folder/$mix-$size.pcap
    if ! [ -s "$capture" ] || ! [ -s "$capture.facts" ]; then
        "$generate" "$mix" --size "$size" --output "$capture" 2> "$capture.facts"
    fi
    cat "$capture.facts" >&2
done
exec python3 benches/compare.py --folder "$folder" --size "$size" --runs "$runs" --mixes "$mixes" --only "$only"
