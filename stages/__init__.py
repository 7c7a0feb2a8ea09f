"""One short script per DVC stage. Importing this package puts the `src` next to it first on the path.

DVC runs queued and temporary experiments in a copy of the repository. Without this path, an editable install would
import the code of the original.

A stage does not check whether the files that it reads are out of date. `dvc status` compares their hashes.

A stage that is stopped prints one sentence, even while it imports torch.
"""

import gc
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


if sys.argv[0] == "-m":  # `python -m stages.…`; other programs that import this package keep their handlers
    gc.disable()  # while modules load, because hundreds of collections would find nothing; `stage` enables it
    signal.signal(signal.SIGINT, _stop)
    if os.environ.get("WORLD_SIZE", "1") == "1":  # several ranks must all end at once
        signal.signal(signal.SIGTERM, _stop)
