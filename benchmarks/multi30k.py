"""What a quarter of an hour of training gives on Multi30k: BLEU and translations.

    python benchmarks/multi30k.py --data-dir DIR > benchmarks/multi30k.md

The same as `tf-autodropout train multi30k --data-dir DIR --steps STEPS --out OUT`, printed as Markdown.
Results: `benchmarks/multi30k.md`.
"""

import argparse
import sys
import time

from environment import environment

from tf_autodropout.search.tasks.registry import make_task
from tf_autodropout.search.train_child import train_child

STEPS = 3000


def main() -> None:
    """Trains one child and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="directory with train.de, train.en and so on")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    task = make_task("multi30k", data_dir=options.data_dir, steps=options.steps)

    def hear(step: int, steps: int, loss: float) -> None:
        print(f"{step}/{steps}  loss {loss:.3f}", file=sys.stderr, flush=True)

    trained = train_child(task, seed=options.seed, progress=hear)
    settings = task.describe()
    print("# German captions into English\n")
    print(f"{environment('sacrebleu', 'sentencepiece')}\n")
    command = f"tf-autodropout train multi30k --data-dir DIR --steps {options.steps} --seed {options.seed} --out OUT"
    print(f"Command: `{command}`, or `python benchmarks/multi30k.py --data-dir DIR`.\n")
    print(
        f"{settings['num_layers']} + {settings['num_layers']} layers, {settings['hidden_dim']} features, "
        f"{settings['vocabulary_size']} subwords; {options.steps} steps of {settings['batch_size']} pairs, "
        "no dropout.\n"
    )
    print("| | |\n|---|---:|")
    print(f"| BLEU, test_2016_flickr, {task.beams} beams, length normalization {task.alpha} | {trained.test:.1f} |")
    print(f"| BLEU, first {task.valid_size} of val, greedy | {trained.valid:.1f} |")
    print(f"| mean training loss of the last steps, smoothed by {task.label_smoothing} | {trained.curve[-1][1]:.3f} |")
    print(f"| training and scoring, compilation included, minutes | {trained.seconds / 60:.1f} |")
    print(f"| minutes of CPU, over all cores | {time.process_time() / 60:.1f} |\n")
    print("The first test sentences, unpicked:\n")
    print("| source | translation | reference |\n|---|---|---|")
    for sample in task.samples(8):
        print(f"| {' | '.join(sample.values())} |")


if __name__ == "__main__":
    main()
