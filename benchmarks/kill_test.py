"""Twenty times kill -9, on real children: does a search lose, repeat or change anything?

`tf-autodropout search digits`, with children of 20 steps, is killed by SIGKILL at random moments and taken up
by `tf-autodropout resume`: after a random number of trials (0 to 4) plus up to a second, so that it hits while
loading, training, writing and updating. Then it is let run to its end, and its ledger is held against an
unbroken search, in one process, whose children earn the same rewards: every trial finished exactly once, the
same suggestions with the same log-probabilities, the same batches, and controller weights, optimizer slots and
baseline equal to the bit.

Run: `python benchmarks/kill_test.py`, half an hour on one busy core. Results: `benchmarks/kill_test.md`.
"""

import argparse
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from environment import environment

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.core import Call, Outcome, Status
from tf_autodropout.search.ledger import FILE_NAME, Ledger, LedgerReader, stored_config
from tf_autodropout.search.loop import search_loop
from tf_autodropout.search.searchers import Reinforce
from tf_autodropout.search.tasks.digits import digits_task

COMMAND = [sys.executable, "-m", "tf_autodropout.search"]
MOST_TRIALS = 4  # of a session that is killed
LONGEST_START = 15.0  # seconds, for a kill before the first trial


class Replayed:
    """An engine whose children earn given rewards, first in, first out."""

    slots = 1

    def __init__(self, rewards: dict[int, float]) -> None:
        self._rewards, self._waiting = rewards, deque[Call]()

    def submit(self, call: Call) -> None:
        """Queues a trial."""
        self._waiting.append(call)

    def next(self) -> Outcome:
        """Answers for the oldest trial."""
        call = self._waiting.popleft()
        call.begin()
        return Outcome(call.number, Status.FINISHED, self._rewards[call.number])

    def close(self) -> None:
        """Has nothing to close."""


def killed_session(command: list[str], rng: random.Random) -> str:
    """Runs `command` until a random moment; returns that moment in words."""
    begin = time.monotonic()
    wanted = rng.randint(0, MOST_TRIALS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = 0
        while seen < wanted:
            line = process.stdout.readline()
            assert line, "the search ended before it was killed"
            seen += "reward" in line
        time.sleep(rng.uniform(0, 1) if wanted else rng.uniform(0, LONGEST_START))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, process.returncode
    return f"{time.monotonic() - begin:.1f} s, {wanted} or more trials"


def main() -> None:
    """Runs the test and writes its report."""
    parser = argparse.ArgumentParser(description="A search on digits that is killed again and again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("runs/kill-test"))
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    killed, unbroken = options.out / "killed", options.out / "unbroken"
    settings = ["--steps", "20", "--trials", str(options.trials), "--fresh-seeds", "0", "--finalists", "1"]
    search = [*COMMAND, "search", "digits", *settings, "--out", str(killed)]
    rng, moments = random.Random(options.seed), []
    for kill in range(options.kills):
        begun = (killed / FILE_NAME).exists() and stored_config(killed) is not None
        moments.append(killed_session([*COMMAND, "resume", str(killed)] if begun else search, rng))
        print(f"kill {kill + 1}: {moments[-1]}", flush=True)
    subprocess.run([*COMMAND, "resume", str(killed)], check=True, stdout=subprocess.DEVNULL)

    reader = LedgerReader(killed)
    trials, checkpoint, outcomes = reader.trials(), reader.latest_checkpoint(), reader.outcomes()
    reader.close()
    rewards = {trial.number: trial.reward for trial in trials if trial.reward is not None}
    space = digits_task(steps=20).space
    ledger = Ledger(unbroken, {"task": {"name": "digits, replayed"}})
    search_loop(Reinforce(space, 0), ledger, Replayed(rewards), space.decode, options.trials)
    db = sqlite3.connect(killed / FILE_NAME)
    checks = {
        f"trials 1 to {options.trials} are there, each finished, each once in the order of finishing": (
            [trial.number for trial in trials] == list(range(1, options.trials + 1))
            and all(trial.status is Status.FINISHED for trial in trials)
            and sorted(number for number, _, _ in outcomes) == [trial.number for trial in trials]
        ),
        "suggestions and log-probabilities equal those of the unbroken run": (
            [trial.suggestion for trial in trials] == [trial.suggestion for trial in ledger.trials()]
        ),
        "order of finishing equals": outcomes == ledger.outcomes(),
        "controller weights, optimizer slots and baseline equal, to the bit": checkpoint == ledger.latest_checkpoint(),
        "`PRAGMA integrity_check` says ok": db.execute("PRAGMA integrity_check").fetchall() == [("ok",)],
    }
    db.close()
    ledger.close()
    attempts = sum(trial.attempts for trial in trials)
    lines = [
        "# Twenty kills of one search on `digits`" if options.kills == 20 else f"# {options.kills} kills",
        "",
        "```sh",
        "python benchmarks/kill_test.py",
        "```",
        "",
        "What is done, and how: the docstring of `kill_test.py`.",
        "",
        f"{environment()} {options.trials} trials, {checkpoint[0] if checkpoint else 0} updates; "
        f"{attempts} trainings were begun, {attempts - options.trials} of them died with the process.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {'yes' if passed else '**no**'} |" for name, passed in checks.items()),
        "",
        f"Killed after: {'; '.join(moments)}.",
    ]
    write_text(options.table, "\n".join(lines) + "\n")
    print("\n".join(lines))
    sys.exit(not all(checks.values()))


if __name__ == "__main__":
    main()
