"""Runs the tools in turn and prints the table; called by compare.sh, which makes the captures."""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

# Name, program (or environment variable that names it), arguments, and what it writes.
# {in} is the capture, {out} a file for the output, {dir} a folder for it.
TOOLS = [
    ("floor", "floor", "{floor} {in}"),
    ("tlscope 1 thread", "tlscope", "{tlscope} analyze --threads 1 --format ndjson --fail-on never --output {out} {in}"),
    ("tlscope 2 threads", "tlscope", "{tlscope} analyze --threads 2 --format ndjson --fail-on never --output {out} {in}"),
    ("mercury", "mercury", "{mercury} -r {in} -f {out}"),
    ("suricata", "suricata", "{suricata} -r {in} -l {dir} -k none -S /dev/null --runmode single"),
    ("ndpiReader", "ndpiReader", "{ndpiReader} -v 1 -i {in}"),
    ("ssldump", "ssldump", "{ssldump} -n -j -r {in}"),
    ("pcap-analyzer", "pcap-analyzer", "{pcap-analyzer} -p tls {in}"),
    ("tshark", "tshark", "{tshark} -n -r {in} -Y tls.handshake -T fields -e tcp.stream -e tls.handshake.type"
     " -e tls.handshake.extensions_server_name -e tls.handshake.ciphersuite -e tls.handshake.ja3"),
    ("tcpdump (lower mark)", "tcpdump", "{tcpdump} -n -q -t -r {in} tcp[tcpflags] & tcp-syn != 0"),
]


def find(program):
    """The program's path: by environment variable, then by PATH, then where Debian keeps it."""
    named = os.environ.get(program.upper().replace("-", "_"))
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/opt/bin"
    return shutil.which(named, path=path) if named else shutil.which(program, path=path)


def arguments(line, places):
    words = []
    for word in line.split(" tcp[")[0].split():
        words.append(re.sub(r"\{([\w-]+)\}", lambda found: places[found[1]], word))
    if " tcp[" in line:
        words.append("tcp[" + line.split(" tcp[")[1])
    return words


def measure(words, output):
    """Wall and CPU seconds, peak memory in MiB, and the exit code."""
    # The kernel counts a forked Python's memory as its child's; `time` is small.
    small = shutil.which("time")
    peak = output + ".peak"
    if small:
        words = [small, "-q", "-f", "%M", "-o", peak, *words]
    with open(output, "wb") as out, open(output + ".err", "wb") as err:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    kib = int(open(peak).read().split()[-1]) if small else usage.ru_maxrss
    return wall, usage.ru_utime + usage.ru_stime, kib / 1024, process.returncode


def version(program, path):
    for flag in ["--version"], ["-V"], ["-h"]:
        if program in ("floor",):
            return ""
        try:
            said = subprocess.run([path, *flag], capture_output=True, text=True, timeout=10, errors="replace")
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
        if found:
            return found[0]
    return "?"


def facts(capture):
    text = open(capture + ".facts", encoding="utf-8").read()
    packets, size, handshakes = (int(number) for number in re.findall(r"(\d+) (?:packets|bytes|handshakes)", text))
    return packets, size, handshakes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--folder", "--size", "--mixes", "--only"):
        parser.add_argument(name)
    parser.add_argument("--runs", type=int)
    args = parser.parse_args()
    wanted = set(args.only.split())

    tools, missing = [], []
    for name, program, line in TOOLS:
        if wanted and program not in wanted:
            continue
        path = find(program)
        if path:
            tools.append((name, program, path, line))
        elif program not in missing:
            missing.append(program)

    results = {}
    loads = [os.getloadavg()[0]]
    for mix in args.mixes.split():
        capture = os.path.join(args.folder, f"{mix}-{args.size}.pcap")
        with open(capture, "rb") as file:  # Into the page cache.
            while file.read(1 << 22):
                pass
        for number in range(args.runs):
            for name, program, path, line in tools:
                done = results.setdefault((mix, name), [])
                # The slowest need no more than one run to tell that they are slow.
                if done and done[0][1] > 5:
                    continue
                out = os.path.join(args.folder, "out")
                directory = os.path.join(args.folder, "out.d")
                shutil.rmtree(directory, ignore_errors=True)
                os.makedirs(directory)
                # To replace the last run's output would be timed as part of this one.
                if os.path.exists(out + ".ndjson"):
                    os.remove(out + ".ndjson")
                places = {"in": capture, "out": out + ".ndjson", "dir": directory, program: path}
                run = measure(arguments(line, places), out)
                if run[3] != 0:
                    tail = open(out + ".err", errors="replace").read()[-300:]
                    print(f"{name} on {mix}: exit code {run[3]}: {tail}", file=sys.stderr)
                done.append(run)
                print(f"{mix:10} {name:22} {run[0]:7.3f} s {run[1]:7.3f} s {run[2]:7.1f} MiB", file=sys.stderr)
            loads.append(os.getloadavg()[0])

    print(f"{args.size} each, medians of up to {args.runs} runs in turn; {platform.machine()}, {os.cpu_count()} cores;"
          f" load {min(loads):.1f} to {max(loads):.1f}; {time.strftime('%Y-%m-%d')}.")
    print("Versions: " + ", ".join(sorted({f"{program} {version(program, path)}" for _, program, path, _ in tools
                                            if program != "floor"})) + ".")
    if missing:
        print("Not found: " + ", ".join(missing) + ".")
    print()
    print("| mix | tool | wall s | CPU s | MiB | wall ÷ floor | CPU ÷ floor | wall ÷ fastest peer | kpackets/s | khandshakes/s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    own = ("floor", "tlscope", "tcpdump")
    for mix in args.mixes.split():
        packets, _, handshakes = facts(os.path.join(args.folder, f"{mix}-{args.size}.pcap"))
        middle = {name: [statistics.median(run[at] for run in results[mix, name]) for at in range(3)]
                  for name, *_ in tools}
        floor = middle.get("floor")
        peers = [middle[name][0] for name, program, *_ in tools if program not in own]
        for name, *_ in tools:
            wall, cpu, memory = middle[name]
            ratios = [f"{wall / floor[0]:.2f}", f"{cpu / floor[1]:.2f}"] if floor else ["", ""]
            peer = f"{wall / min(peers):.2f}" if peers else ""
            rates = [f"{packets / wall / 1000:,.0f}", f"{handshakes / wall / 1000:,.1f}"]
            cells = [mix, name, f"{wall:.3f}", f"{cpu:.3f}", f"{memory:.0f}", *ratios, peer, *rates]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
