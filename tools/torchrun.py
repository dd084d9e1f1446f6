"""torchrun, ending with one line where a process failed: what it said stands above, no stack."""

import sys

# isort: off
import mmssl  # noqa: F401, before torch: from here on a signal ends it in one line

# isort: on
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == '__main__':
    try:
        main()
    except SignalException as signaled:
        print(f'{signaled.sigval.name}: ended', file=sys.stderr)
        sys.exit(128 + signaled.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode  # negative for a signal
        how = f'exit status {code}' if code > 0 else f'signal {-code}'
        print(f'error: process {rank} ended with {how}; its reason stands above', file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)
