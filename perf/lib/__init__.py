"""The parts of perf/compare and perf/flamegraph, in reading order.

bench.py     what stands during a run: the upstream and the proxies, each on its core
servers.py   how each of them is started, and how one tells that it answers rightly
load.py      runs the load generators and reads what they say
cells.py     one measured load: the clocks around it, and what makes it void
machine.py   what the kernel tells of processes and of the machine
sections/    what is measured, one file each
report.py    the result file
plot.py      its charts; a program of its own, since it needs a library
"""
