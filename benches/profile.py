"""Prints the functions of a callgrind output file that take most instructions themselves, inlined ones
counted where they were inlined, and those that take most with all they call: profile.py FILE [ROWS]."""

import re
import sys
from collections import Counter


def main():
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 25
    names, own, whole = {}, Counter(), Counter()
    function, called, is_call = "", "", False

    def name(text):
        number, given = re.match(r"\((\d+)\)(?: (.*))?$", text).groups()
        if given:
            names[number] = re.sub(r"'\d+$", "", given)
        return names[number]

    with open(sys.argv[1], encoding="utf-8", errors="replace") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("fn="):
                function = name(line[3:])
            elif line.startswith("cfn="):
                called = name(line[4:])
            elif line.startswith("calls="):
                is_call = True
            elif re.match(r"[+*\d-]", line):
                cost = int(line.split()[1]) if " " in line else 0
                # A function that calls itself would count twice.
                if not is_call:
                    own[function] += cost
                    whole[function] += cost
                elif called != function:
                    whole[function] += cost
                is_call = False

    total = sum(own.values())
    # What only calls main.
    whole = Counter({found: cost for found, cost in whole.items() if cost <= 0.998 * total})
    for title, counts in (("itself", own), ("with what it calls", whole)):
        print(f"   instructions        %  {title}")
        for found, cost in counts.most_common(rows):
            print(f"{cost:15,} {100 * cost / total:7.2f}  {found[:120]}")


if __name__ == "__main__":
    main()
