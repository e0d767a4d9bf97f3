"""A service of the launcher's tests: serves nothing but health, and misbehaves as its variable says.

Run as `scripted_service.py NAME` with the launcher's environment and `SCRIPT_NAME` (in capitals) as one of:
`good`; `dies`, a second after it serves, with status 3; `stubborn`, which ignores SIGTERM; `silent`, which
never gets ready.
"""

import asyncio
import json
import os
import signal
import sys
import time

from memalpha.client import methods
from memalpha.services import launched
from memalpha.services.serving import serve

NAME = sys.argv[1]
SCRIPT = os.environ.get(f"SCRIPT_{NAME.upper()}", "good")


async def background(stop: asyncio.Event) -> None:
    """What the service does beside answering health checks."""
    print(json.dumps({"event": "hello", "level": "info", "timestamp": "2026-01-02T03:04:05Z", "bank": NAME}))
    sys.stdout.flush()
    if SCRIPT == "stubborn":
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if SCRIPT == "dies":
        await asyncio.sleep(1)
        print("my last words", flush=True)
        os._exit(3)
    await stop.wait()


if __name__ == "__main__":
    launched.follow(0)
    if SCRIPT == "silent":
        time.sleep(60)
    address = os.environ[f"MEMALPHA_{NAME.upper()}_ADDRESS"]
    service = {"memory": methods.MEMORY, "policy": methods.POLICY, "agent": methods.AGENT}[NAME]
    sys.exit(
        asyncio.run(serve(address, service, lambda server: None, grace_seconds=1, background=background))
    )
