"""Trains a policy: `python trainer/run.py --config trainer/configs/bandit.toml`; `--help` says more."""

import sys

from memalpha_trainer.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
