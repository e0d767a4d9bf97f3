"""The tie between a service process and the launcher that started it.

A launcher keeps the write end of the service's standard input open and never writes. When it is gone, however
it died, the kernel closes that end, the service reads the end of the file, and stops as if asked to.
"""

import os
import signal
import threading
import time

# A launcher sets this variable for the processes whose standard input it holds.
VARIABLE = "MEMALPHA_LAUNCHED"


def follow(grace_seconds: float) -> None:
    """Ends this process with its launcher, if it has one: by SIGTERM, and 5 s after the grace by force."""
    if os.environ.pop(VARIABLE, ""):
        threading.Thread(target=_wait_for_the_end, args=(grace_seconds + 5,), daemon=True).start()


def _wait_for_the_end(seconds: float) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
    os._exit(1)
