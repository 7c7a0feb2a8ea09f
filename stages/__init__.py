"""One thin script per DVC stage. Importing it puts this tree's `src` first on the path.

DVC runs queued and temporary experiments in a copy of the tree. Without this path, an editable install would import the
original's code.

A stage does not check the files that it reads. `dvc status` compares their hashes and tells which ones have changed.

A stage that is stopped says so in one sentence, also while torch is being imported.
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
    """Ends the process after its `finally` blocks; the same signal again ends it at once."""
    signal.signal(number, signal.SIG_DFL)
    if os.environ.get("RANK", "0") == "0":
        os.write(2, SENTENCES[signal.Signals(number)].encode())
    raise SystemExit(128 + number)


if sys.argv[0] == "-m":  # only when a stage is started: a program that imports this keeps its own handlers
    signal.signal(signal.SIGINT, _stop)
    if os.environ.get("WORLD_SIZE", "1") == "1":  # several ranks wait for each other, so they must end at once
        signal.signal(signal.SIGTERM, _stop)
