"""Replay a recorded step, kNN or linear probe of an official code and compare every tensor.

The harness is that of the tests, so the tool needs a clone of the repository.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.replay.command import main

if __name__ == '__main__':
    sys.exit(main())
