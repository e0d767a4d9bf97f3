"""Has the trainer's command line and run folder and trains nothing; `log.project` says how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from memalpha_trainer.config import Config, resolve
from memalpha_trainer.runs.folder import RunFolder

PAUSE = 0.02


def main() -> None:
    config = resolve(Path(sys.argv[sys.argv.index("--config") + 1]))
    if config.log.project == "never begins":
        sys.exit("error: there is no such model")
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    with RunFolder.create(config) as run:
        run.cut(0)
        run.running(0, "starting")
        for step in range(1, config.optim.steps + 1):
            train(config, run, step)
            if asked and config.log.project != "stubborn":
                run.end("stopped", f"asked to stop at step {step}")
                sys.exit(130)
        run.end("done")


def train(config: Config, run: RunFolder, step: int) -> None:
    time.sleep(PAUSE)
    run.add_metrics(step, {"reward/total": step / 10, "lost": float("nan"), "phase": "training"})
    run.running(step)
    if step % 2 == 0:
        (run.weights / f"v{step:06d}").mkdir()
    if step == 3 and config.log.project == "fails":
        print("a line before the end", file=sys.stderr)
        raise RuntimeError("the loss is not finite")
    if step == 3 and config.log.project == "dies":
        print("not enough memory", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
