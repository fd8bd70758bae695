"""A program that adds a letter to a file in a folder of a state directory, to be killed or run several times at once.

state_keeper.py FOLDER LETTER
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pluto_measure.state_folder import StateFolder


def main(words: Sequence[str]) -> int:
    path, letter = words
    folder = StateFolder(Path(path), "memory")
    with folder.locked():
        before = (folder.read(folder.memory_path, 1000) or b"").decode()
        with folder.prepared(folder.memory_path, before + letter) as rename:
            rename()
        folder.flush_folder()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
