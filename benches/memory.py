"""Measures memory, growth and hostile mixes; called by memory.sh."""

import json
import os
import subprocess
import sys

TLSCOPE, GENERATE = os.environ["TLSCOPE"], os.environ["GENERATE"]
QUICK = "--quick" in sys.argv[1:]
SCALE = 10 if QUICK else 1
failures = 0


def run(mix, *amount, memory="512MiB"):
    """Streams a generated capture into tlscope: CPU seconds, MiB, bytes and the summary."""
    maker = subprocess.Popen([GENERATE, mix, *amount], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command = [TLSCOPE, "analyze", "--threads", "1", "--format", "ndjson", "--fail-on", "never", "--memory", memory, "-"]
    # Only the last line, the summary, is kept.
    tail = subprocess.Popen(["tail", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    reader = subprocess.Popen(command, stdin=maker.stdout, stdout=tail.stdin)
    maker.stdout.close()
    tail.stdin.close()
    _, status, usage = os.wait4(reader.pid, 0)
    reader.returncode = os.waitstatus_to_exitcode(status)
    summary = json.loads(tail.stdout.read() or "{}")
    tail.wait()
    said = maker.stderr.read().decode()
    maker.wait()
    size = int(said.split(" packets, ")[1].split(" bytes")[0])
    if reader.returncode != 0:
        judge(False, f"{mix}: exit code {reader.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, size, summary


def judge(met, text):
    global failures
    failures += not met
    print(("ok      " if met else "NOT MET ") + text, flush=True)


def memory():
    for size in (100, 2_000):
        _, mib, _, _ = run("bulk", "--size", f"{max(size // SCALE, 20)}MB")
        judge(mib <= 64, f"bulk {max(size // SCALE, 20)} MB: {mib:.0f} MiB (at most 64)")
    # The cap, and what the program takes besides it (see src/limits.rs).
    for mix, count, cap in (("syn-flood", 10_000_000, 512), ("half-open", 1_000_000, 512)):
        cap = cap // SCALE if QUICK else cap
        cpu, mib, _, summary = run(mix, "--connections", str(count // SCALE), memory=f"{cap}MiB")
        skipped = summary.get("skipped", {})
        judge(mib <= cap + 64, f"{mix} of {count // SCALE:,}: {mib:.0f} MiB (cap {cap} + 64), {cpu:.1f} s, {skipped}")


def growth():
    for mix in ("bulk", "mixed", "handshake"):
        small, large = (1_000 // SCALE, 10_000 // SCALE) if mix == "bulk" else (200 // SCALE, 2_000 // SCALE)
        times = []
        for size in (small, large):
            # The least of three is the one that others disturbed least.
            results = [run(mix, "--size", f"{size}MB") for _ in range(3)]
            cpu, _, written, _ = min(results, key=lambda result: result[0])
            times.append(cpu / written)
        ratio = times[1] / times[0]
        judge(ratio <= 1.10, f"{mix}: a byte of {large} MB costs {ratio:.2f} times one of {small} MB (at most 1.10)")


def hostile():
    size = f"{100 // SCALE}MB"
    cost = lambda mix: min((lambda result: result[0] / result[2])(run(mix, "--size", size)) for _ in range(3))
    base = cost("mixed")
    print(f"        mixed: {base * 1e9:.2f} ns a byte")
    for mix in ("tiny-segments", "reversed", "overlaps", "one-byte-hellos", "empty-records", "max-extensions", "udp"):
        ratio = cost(mix) / base
        judge(ratio <= 5, f"{mix}: {ratio:.1f} times mixed's cost of a byte (at most 5)")


memory()
hostile()
growth()
sys.exit(1 if failures else 0)
