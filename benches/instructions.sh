#!/bin/bash
# Counts the instructions of `tlscope analyze` on small generated captures under valgrind and compares
# them with benches/instructions.tsv: a hot path that grew is seen on any machine, however noisy.
#
#   benches/instructions.sh            fails where a count is more than 5 % above the table's
#   benches/instructions.sh --update   writes the table
#   benches/instructions.sh --profile  also prints the 25 functions that take most
#
# TLSCOPE and GENERATE name other binaries. Counts differ between compilers and processors (valgrind
# shows the program the processor's features): update the table when the toolchain changes.
set -euo pipefail
cd "$(dirname "$0")/.."

table=benches/instructions.tsv
folder=target/bench
tolerance=5
mkdir -p "$folder"
command -v valgrind > /dev/null || { echo "instructions: valgrind is not here; nothing was compared" >&2; exit 0; }
if [ -z "${TLSCOPE:-}" ]; then
    cargo build --release --quiet --bin tlscope --example generate
fi
tlscope=${TLSCOPE:-target/release/tlscope}
generate=${GENERATE:-target/release/examples/generate}

count() { # mix amount-option amount
    local capture=$folder/instructions-$1.pcap
    "$generate" "$1" "$2" "$3" --seed 7 --output "$capture" 2> /dev/null
    valgrind --tool=callgrind --callgrind-out-file="$folder/callgrind.$1" "$tlscope" analyze --threads 1 \
        --format ndjson --fail-on never --quiet --output "$folder/instructions.ndjson" "$capture" \
        2> "$folder/callgrind.$1.log" || { cat "$folder/callgrind.$1.log" >&2; return 2; }
    awk '/^summary:|^totals:/ { print $2; exit }' "$folder/callgrind.$1"
}

status=0
rows=""
while read -r mix option amount; do
    found=$(count "$mix" "$option" "$amount")
    rows+="$mix"$'\t'"$found"$'\n'
    known=$(awk -F '\t' -v mix="$mix" '$1 == mix { print $2 }' "$table" 2> /dev/null || true)
    if [ -z "$known" ]; then
        echo "$mix: $found instructions, no count in $table"
        [ "${1:-}" = --update ] || status=1
    else
        # Tenths of a percent.
        change=$(((found - known) * 1000 / known))
        printf '%s: %d instructions, %d before: %s%d.%d %%\n' "$mix" "$found" "$known" "$([ $change -lt 0 ] && echo - || echo +)" $((${change#-} / 10)) $((${change#-} % 10))
        if [ $change -gt $((tolerance * 10)) ]; then
            echo "  more than $tolerance % slower; if that is the price of something worth it, run $0 --update"
            status=1
        elif [ $change -lt $((-tolerance * 10)) ]; then
            echo "  faster: run $0 --update, so that it stays so"
        fi
    fi
    if [ "${1:-}" = --profile ]; then
        python3 benches/profile.py "$folder/callgrind.$mix" 25
    fi
done << 'MIXES'
bulk --size 20MB
mixed --size 20MB
handshake --connections 3000
syn-flood --connections 50000
MIXES

if [ "${1:-}" = --update ]; then
    printf 'mix\tinstructions\n%s' "$rows" > "$table"
    status=0
fi
exit $status
