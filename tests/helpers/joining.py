"""One process of a group, for tests of processes that stop or never come.

``python -m tests.helpers.joining COUNT`` joins the group that the environment tells, prints
'joined', and meets the others so many times. ``dist_cfg`` is in the variable DIST_CFG.
"""

import json
import os
import sys
import time

from mmssl.core import UserError, dist, launch


def main() -> None:
    """Join and meet; errors are printed as the tools print them."""
    try:
        launch.init_distributed('pytorch', **json.loads(os.environ['DIST_CFG']))
        print('joined', flush=True)
        for _ in range(int(sys.argv[1])):
            dist.wait()
            time.sleep(0.01)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    finally:
        launch.leave()


if __name__ == '__main__':
    main()
