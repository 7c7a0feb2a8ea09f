"""One thin script per DVC stage. Importing it puts this tree's `src` first on the path.

DVC runs queued and temporary experiments in a copy of the tree; an editable install would import the original's code.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
