"""`python -m memalpha_evals` is the command line."""

from memalpha_evals.cli import main

if __name__ == "__main__":
    main()
