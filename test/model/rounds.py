"""Rounds of a random test that writes concurrently: each has a seed, and one that
fails names it.  A model has round(seed), which returns what was wrong, if anything;
restart(), for after that; and summary(), what it has done so far."""

import argparse
import os
import random
import sys
import time


def main(make_model, description):
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next has the next")
    parser.add_argument("--repeat", action="store_true", help="every round with the same seed")
    parser.add_argument("--writers", type=int, default=4)
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10 ** 9)

    model = make_model(arguments.writers)
    failed = 0
    start = time.monotonic()
    for n in range(arguments.rounds):
        seed = first if arguments.repeat else first + n
        wrong = model.round(seed)
        if wrong:
            failed += 1
            print("%s --seed %d: %s" % (os.path.basename(sys.argv[0]), seed, wrong), flush=True)
            model.restart()
    print("%d rounds from seed %d: %s, %d wrong, %.1f s"
          % (arguments.rounds, first, model.summary(), failed, time.monotonic() - start))
    print("rounds: %d passed, %d failed" % (arguments.rounds - failed, failed))
    return 1 if failed else 0
