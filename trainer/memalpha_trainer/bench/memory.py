"""The largest resident set of another process, asked while it lives.

What the kernel tells of a process that has ended counts the one that started it, whose memory it shared until
it became another program.
"""

from __future__ import annotations

from pathlib import Path


def high_water(pid: int) -> float | None:
    """In MiB, libraries included; None if the process is gone, or no `/proc` tells."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
