"""Reads a report of the conformance suite: what failed, and exit code 1 if anything did."""

import collections
import json
import sys

# NON-STRICT: right, though not as soon as it could be. INFORMATIONAL: nothing is asked for. UNIMPLEMENTED counts as
# wrong: it is how the suite says that compression was not agreed on, without which those cases would show nothing.
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}


def main(path):
    with open(path) as file:
        agents = json.load(file)
    return max((judge(agent, cases) for agent, cases in sorted(agents.items())), default=1)


def judge(agent, cases):
    counts = collections.Counter(case["behavior"] for case in cases.values())
    said = ", ".join("%d %s" % (count, word) for word, count in sorted(counts.items()))
    print("%s: %d cases: %s" % (agent, len(cases), said))
    wrong = {
        number: case
        for number, case in cases.items()
        if case["behavior"] not in FINE or case["behaviorClose"] not in FINE
    }
    for number, case in sorted(wrong.items()):
        print("  %s: %s, closing %s" % (number, case["behavior"], case["behaviorClose"]))
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
