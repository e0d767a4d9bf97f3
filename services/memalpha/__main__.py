"""The `memalpha` command, also as `python -m memalpha`.

Importing the command line takes a moment; an interrupt during that moment ends as quietly as a later one.
"""

import sys

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line of this process."""
    try:
        from memalpha.cli import main as run
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
