"""What happens to providers under a load: to our own, or by an operator's commands."""

import signal
import subprocess

COMMAND_S = 60
OPTIONS = {
    "--down": {"help": "with --url: a shell command that takes a provider away, run at 30 %% of the time"},
    "--up": {"help": "with --url: a shell command that brings it back, run at 60 %%"},
}


def own_steps(test, providers, whom):
    """Steps and the shares of the time at which they are due. Whom they hit, `whom` says when they do."""
    hit = []

    def kill():
        hit.append(whom())
        test.mark(f"{hit[-1].name} killed")
        hit[-1].kill()

    def restart():
        hit[-1].process.end()
        hit[-1].start()
        test.mark(f"{hit[-1].name} back")

    def stall():
        hit.append(whom())
        test.mark(f"{hit[-1].name} stalls")
        hit[-1].process.signal(signal.SIGSTOP)

    def go_on():
        hit[-1].process.signal(signal.SIGCONT)
        test.mark(f"{hit[-1].name} goes on")

    return [(0.2, kill), (0.45, restart), (0.6, stall), (0.8, go_on)]


def operator_steps(test):
    down, up = test.options.down, test.options.up
    if not down:
        test.note("No --down and --up: take a provider away by hand while this runs, or it shows only a steady load.")
        return []
    if not up:
        raise RuntimeError("--down wants an --up: what is taken away is brought back")
    command = Command(test, up)
    test.own.append(command)
    return [(0.3, lambda: command.down(down)), (0.6, command.end)]


class Command:
    """What the operator took away: brought back once, at its time or when the run is broken off."""

    def __init__(self, test, up):
        self.test, self.up, self.is_down = test, up, False

    def down(self, text):
        self.is_down = True
        self.run("down", text)

    def end(self):
        if self.is_down:
            self.is_down = False
            self.run("up", self.up)

    def run(self, name, text):
        self.test.mark(name)
        subprocess.run(text, shell=True, check=True, timeout=COMMAND_S)
