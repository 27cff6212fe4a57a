"""The task `ptb` at its own settings: a small Transformer-XL on Penn Treebank, without dropout and with the classics.

    python benchmarks/transformer_xl_ptb.py --data-dir DIR                 # no dropout
    python benchmarks/transformer_xl_ptb.py --data-dir DIR --contenders 4  # the classics too

Each child is what `tf-autodropout train ptb --data-dir DIR` trains. Results:
`benchmarks/transformer_xl_ptb.md`.
"""

import argparse
import sys

from environment import environment

from tf_autodropout.search.tasks.opponents import classics_for
from tf_autodropout.search.tasks.ptb import ptb_task
from tf_autodropout.search.train_child import train_child


def main() -> None:
    """Trains the children and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="directory of ptb.train.txt, ptb.valid.txt, ptb.test.txt")
    parser.add_argument("--contenders", type=int, default=1, help="lines of the table, no dropout first")
    parser.add_argument("--steps", type=int, help="training steps; default: the task's own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    steps = {"steps": options.steps} if options.steps else {}
    task = ptb_task(data_dir=options.data_dir, **steps)
    print(
        f"{environment()} {task.steps} steps of {task.batch_size} x {task.sequence_length} tokens, seed {options.seed}."
    )
    print("\n| | validation perplexity | test perplexity | seconds |\n|---|---:|---:|---:|")
    classics = [classic.everywhere(0.1) for classic in classics_for(task.space.sites)]
    for opponent in [*task.opponents(), *classics][: options.contenders]:

        def hear(step: int, steps: int, loss: float) -> None:
            if step % 100 == 0:
                print(f"{step}/{steps}  loss {loss:.3f}", file=sys.stderr, flush=True)

        trained = train_child(task, opponent.patterns, options.seed, progress=hear)
        print(f"| {opponent.name} | {trained.valid:.1f} | {trained.test:.1f} | {trained.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
