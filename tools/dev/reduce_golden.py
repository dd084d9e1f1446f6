"""Make the reduced form of recorded cases that the tests hold.

Each tensor after a step or a run, and each clipped gradient, of more than 128 elements becomes a
stand-in (see tests/replay/reduced.py); the files of whole runs are compressed. Gradients before
clipping stay, but for those of MoCo v2 and SwAV (--gradients): tests compare their direction.
"""

import argparse
import lzma
import re
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.replay.reduced import PREFIX, WHOLE, reduce

LARGE = r'(final|grad_clipped|grad_after_larc|after)\.'
WITH_GRADIENTS = r'(final|grad|grad_clipped|grad_after_larc|after)\.'
FILES = (
    *('case.json', 'official.pth', 'official_hub.pth'),
    *('region_start.safetensors', 'batch.safetensors'),
)


def write(source: Path, target: Path, large: str) -> None:
    """Write the reduced form of one case; tensors whose names match ``large`` are reduced."""
    target.mkdir(parents=True, exist_ok=True)
    for file in (source / name for name in FILES):
        if file.is_file():
            shutil.copyfile(file, target / file.name)
    for file in source.glob('expect*.safetensors'):
        kept = {}
        for name, value in load_file(file).items():
            if re.match(large, name) and value.is_floating_point() and value.numel() > WHOLE:
                kept[PREFIX + name] = reduce(name, value)
            else:
                kept[name] = value.contiguous()
        save_file(kept, target / file.name)
    for file in list(target.iterdir()) if source.name.endswith('_traj_a') else ():
        if file.suffix in ('.pth', '.safetensors'):
            packed = lzma.compress(file.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
            file.with_name(f'{file.name}.xz').write_bytes(packed)
            file.unlink()


def main() -> None:
    """Reduce the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('cases', type=Path, nargs='+', help='folders of recorded cases')
    parser.add_argument('--out', type=Path, default=Path('tests/golden'))
    parser.add_argument('--gradients', action='store_true', help='reduce these too')
    args = parser.parse_args()
    for case in args.cases:
        write(case, args.out / case.name, WITH_GRADIENTS if args.gradients else LARGE)
        print(case.name, sum(file.stat().st_size for file in (args.out / case.name).iterdir()))


if __name__ == '__main__':
    main()
