#!/bin/bash
# Measures `tlscope live` beside every peer found, on a veth pair in a network namespace of its own, and prints one
# Markdown table: packets a second without drop, what was dropped at top speed, CPU time. Needs root and python3.
#
#   benches/live.sh [--size 200MB] [--mixes "bulk mixed handshake"] [--only "tlscope tcpdump"]
#   benches/live.sh --part 3         the same where each tool may take so many per cent of one processor: mostly the
#                                    sender is slower than what watches, and then only this tells them apart
#   benches/live.sh --soak 60        watches for so many seconds at half the rate of `mixed`: no drop, the records of
#                                    the same capture read as a file; from 1200 s on, memory flat within 1 %
#                                    (--rate PACKETS_A_SECOND: at this one; --samples FILE: each second as a line)
#
# Peers are looked for on PATH; MERCURY=/path/to/mercury and the like name others. TLSCOPE, REPLAY and GENERATE name
# other binaries of ours.
set -euo pipefail
cd "$(dirname "$0")/.."

size=200MB mixes="bulk mixed handshake" only="" part=0 soak=0 rate=0 samples=""
while [ $# -gt 0 ]; do
    case "$1" in
        --size) size=$2 ;;
        --mixes) mixes=$2 ;;
        --only) only=$2 ;;
        --part) part=$2 ;;
        --soak) soak=$2 ;;
        --rate) rate=$2 ;;
        --samples) samples=$(realpath "$2") ;;
        *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
[ "$soak" = 0 ] || mixes=mixed

if ! unshare -n true 2> /dev/null || ! command -v ip > /dev/null || ! command -v python3 > /dev/null; then
    echo "live.sh: skipped: this needs root, ip and python3" >&2
    exit 0
fi
folder=target/bench
mkdir -p "$folder"
if [ -z "${TLSCOPE:-}" ]; then
    cargo build --release --quiet --bin tlscope --example generate --example replay
fi
export TLSCOPE=${TLSCOPE:-target/release/tlscope}
export REPLAY=${REPLAY:-target/release/examples/replay}
generate=${GENERATE:-target/release/examples/generate}
for mix in $mixes; do
    capture=$folder/$mix-$size.pcap
    if ! [ -s "$capture" ]; then
        "$generate" "$mix" --size "$size" --output "$capture" 2> "$capture.facts"
    fi
done
# Everything that is sent stays in this namespace, which ends with the script.
exec unshare -n bash -c '
    echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
    ip link add v0 type veth peer name v1
    ip link set v0 up mtu 65000
    ip link set v1 up mtu 65000
    ip link set lo up
    exec python3 benches/live.py "$@"
' live --folder "$folder" --size "$size" --mixes "$mixes" --only "$only" --part "$part" --soak "$soak" --rate "$rate" --samples "$samples"
