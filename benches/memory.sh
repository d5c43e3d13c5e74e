#!/bin/bash
# Checks what must stay small: peak memory on endless bulk, on a SYN flood and on half-open handshakes;
# time that grows no faster than the capture; no input that is slow by its shape. All captures come as
# streams through standard input and need no disk.
#
#   benches/memory.sh [--quick]   --quick: a tenth of everything
#
# TLSCOPE and GENERATE name other binaries. Exit code 1: something was not met.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${TLSCOPE:-}" ]; then
    cargo build --release --quiet --bin tlscope --example generate
fi
export TLSCOPE=${TLSCOPE:-target/release/tlscope}
export GENERATE=${GENERATE:-target/release/examples/generate}
exec python3 benches/memory.py "$@"
