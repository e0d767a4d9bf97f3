"""Does what docs/policy.md tells a new machine to do, by the page's lines, and memorizes a chunk over vLLM.

In an empty folder outside of the checkout: inside of it uv takes the workspace's overrides as well, and those
of the page would never be missed. Fails if a line fails, or if vLLM wrote nothing.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "policy.md"
BANK = "try-install"
# Whatever is free: other services may be at work here.
ADDRESSES = {f"MEMALPHA_{name}_ADDRESS": "127.0.0.1:0" for name in ("MEMORY", "POLICY", "AGENT")}


def recipe(page: str) -> tuple[str, list[str]]:
    """The page's overrides, and its lines; the last one starts the services."""
    blocks = re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (overrides,) = (block for block in blocks if block.startswith("torch=="))
    (lines,) = (block.splitlines() for block in blocks if "uv pip install --override" in block)
    if not lines[-1].startswith("memalpha up --policy vllm"):
        raise ValueError(f"the last line must start the services; it is {lines[-1]!r}")
    return overrides, lines


def main() -> int:
    """Exit code 0 if all of it works."""
    overrides, lines = recipe(PAGE.read_text("utf-8"))
    # Else settings and environments of whoever calls would be tried, not the page.
    ours = ("MEMALPHA_", "UV_PROJECT", "VIRTUAL_ENV", "CONDA_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with tempfile.TemporaryDirectory(prefix="try-install-") as name:
        folder = Path(name)
        (folder / "memalpha").symlink_to(ROOT, target_is_directory=True)
        (folder / "overrides.txt").write_text(overrides)
        installing = "\n".join(["set -euxo pipefail", *lines[:-1]])
        subprocess.run(["bash", "-c", installing], cwd=folder, env=env, check=True)
        written = memorized(folder, env, lines[-1])
    print(f"vLLM wrote {written} bytes for one chunk")
    return 0 if written else 1


def memorized(folder: Path, env: dict[str, str], line: str) -> int:
    """Starts the services by a line of the page; returns how much the policy wrote for a chunk."""
    entered = ". env/bin/activate && exec "
    services = subprocess.Popen(
        ["bash", "-c", f"{entered}{line} --json"], cwd=folder, env=env | ADDRESSES, stdout=subprocess.PIPE
    )
    try:
        assert services.stdout
        ready = services.stdout.readline()
        if not ready:
            raise RuntimeError(f"{line} did not start")
        found = json.loads(ready)["services"]
        there = env | {f"MEMALPHA_{name.upper()}_ADDRESS": each["address"] for name, each in found.items()}
        (folder / "note.txt").write_text("I adopted a dog today.\n")

        def said(arguments: str) -> str:
            command = ["bash", "-c", f"{entered}memalpha {arguments} --bank {BANK} --json"]
            done = subprocess.run(command, cwd=folder, env=there, check=True, stdout=subprocess.PIPE)
            return done.stdout.decode()

        print(said("memorize note.txt"), flush=True)
        events = [json.loads(event) for event in said("history").splitlines()]
        moves = [event["cursor_moved"] for event in events if "cursor_moved" in event]
        print(moves[0]["writer"], flush=True)
        return sum(move["raw_output"]["size_bytes"] for move in moves)
    finally:
        services.send_signal(signal.SIGINT)
        try:
            services.wait(timeout=120)
        except subprocess.TimeoutExpired:
            services.kill()


if __name__ == "__main__":
    sys.exit(main())
