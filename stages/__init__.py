"""One thin script per DVC stage. Importing it puts this tree's `src` first on the path.

DVC runs queued and temporary experiments in a copy of the tree; an editable install would import the original's code.

A stage trusts the files that it reads. DVC's hashes are their guard: `dvc status` tells which are no longer what the
stage before has made.

A stage that is stopped says so in one sentence, also when torch is still being imported.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

SENTENCES = {
    signal.SIGINT: "stopped by the keyboard; `dvc repro` goes on where it can\n",
    signal.SIGTERM: "stopped by a signal (SIGTERM); `dvc repro` goes on where it can\n",
}


def _stop(number: int, _: FrameType | None) -> None:
    """Ends the process by way of its `finally` blocks; the same signal again ends it at once."""
    signal.signal(number, signal.SIG_DFL)
    if os.environ.get("RANK", "0") == "0":
        os.write(2, SENTENCES[signal.Signals(number)].encode())
    raise SystemExit(128 + number)


if sys.argv[0] == "-m":  # a stage is being started; whoever imports this in a program of their own keeps their handlers
    signal.signal(signal.SIGINT, _stop)
    if os.environ.get("WORLD_SIZE", "1") == "1":  # several ranks wait for each other, and are to end at once
        signal.signal(signal.SIGTERM, _stop)
