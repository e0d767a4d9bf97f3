"""`python -m memalpha_trainer`."""

from memalpha_trainer.cli import main

main()
