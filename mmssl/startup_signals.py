"""End by a signal in one line while a tool begins: imports, config, building.

Exceptions do not serve there: an import would end in a stack, and libraries catch them. So the
process ends at once, which loses nothing before the first step. `engine.signals` takes over when
training or an evaluation begins.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b'\x1b[?25h'  # which a progress bar hides
PACKAGE = Path(__file__).resolve().parent
TOOLS = (PACKAGE.parent / 'tools', PACKAGE / '.mim' / 'tools')  # of a clone, and installed


def is_tool(program: str) -> bool:
    """Whether a program is the command ``mmssl`` or one of our tools, not one that imports it."""
    if Path(program).name == 'mmssl':
        return True
    return any(Path(program).resolve().is_relative_to(folder.resolve()) for folder in TOOLS)


def end_by_signals() -> None:
    """From now on end this process by SIGINT and SIGTERM: one line, and status 128 + the number.

    Of several processes of a launcher the first one prints the line; forked ones are silent.
    """
    owner = os.getpid()
    first = os.environ.get('RANK', '0') == '0'

    def end(number: int, _: Any) -> None:
        if os.getpid() == owner and first:
            line = f'{signal.Signals(number).name}: ended\n'.encode()
            # what is buffered may be locked by the code that was interrupted
            os.write(2, (SHOW_CURSOR if os.isatty(2) else b'') + line)
        os._exit(128 + number)

    for number in NUMBERS:
        # a shell starts jobs in the background with SIGINT ignored
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


# a worker that is spawned imports the program again, and does not answer for it
if is_tool(sys.argv[0]) and multiprocessing.parent_process() is None:
    end_by_signals()
