"""Training files: written whole, checked when read; the newest valid one of a work dir."""

import re
from pathlib import Path
from typing import Any

from ...checkpoint import read, save
from ...checkpoint.content_hash import add_hash
from ...checkpoint.file_format import FORMAT, OtherVersion
from ...core import UserError, dist

NAMES = re.compile(r'(epoch_\d+|iter_\d+|best.*)\.pth')  # of ours, and of mmengine


class NotTraining(UserError):
    """A file that holds no training state of ours, such as weights alone."""


def write(content: dict[str, Any], path: Path) -> None:
    """Write a training file with its hash, whole or not at all; UserError when that fails."""
    save.write(
        add_hash(content),
        path,
        '; earlier checkpoints are untouched. Free some space or pass another --work-dir, then '
        'continue with --resume',
    )


def write_together(content: dict[str, Any], path: Path) -> None:
    """Write on the first rank; all ranks learn, and raise, when it could not be done."""
    dist.call_on_rank_zero(lambda: write(content, path))


def training_files(folder: Path) -> list[Path]:
    """Return the training files of a folder by their names, sorted."""
    return sorted(file for file in folder.glob('*.pth') if NAMES.fullmatch(file.name))


def check_work_dir(folder: str | Path, resume: bool, overwrite: bool) -> None:
    """Raise UserError on all ranks when a new run would mix its files with those of an old one.

    The first rank looks, before any rank writes.
    """
    if resume or overwrite:
        return
    found = dist.call_on_rank_zero(lambda: training_files(Path(folder)))
    if found:
        raise UserError(
            f'{folder}: holds training files of an earlier run ({found[-1].name}); --resume '
            'continues it, --work-dir FOLDER starts beside it, --overwrite replaces it',
            key='folder',
            value=str(folder),
        )


def clear(folder: str | Path) -> None:
    """Remove the training files of an earlier run, on the first rank."""
    if dist.rank() == 0:
        for file in (*training_files(Path(folder)), Path(folder, 'last_checkpoint')):
            file.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove files that a killed run has written in part."""
    for file in folder.glob('.*.pth.*'):
        file.unlink(missing_ok=True)


def open_training(path: str | Path) -> dict[str, Any]:
    """Return the content of one of our training files.

    Raises UserError when it is damaged or of another version, `NotTraining` when it holds no
    training state of ours.
    """
    content = read(path)
    if content.get('format') != FORMAT:
        raise NotTraining(
            f'{path}: holds no training state of mmssl, so it cannot be resumed; to start from '
            f'its weights use --cfg-options load_from={path}',
            key='file',
            value=str(path),
        )
    return content


def newest(folder: Path, logger: Any) -> Path | None:
    """Return the newest valid training file of a work dir, passing over damaged ones.

    Raises UserError for a file of another version: a run begun anew would overwrite it.
    """
    found = sorted(folder.glob('*.pth'), key=lambda p: p.stat().st_mtime, reverse=True)
    for file in found:
        try:
            open_training(file)
        except OtherVersion:
            raise
        except NotTraining:
            continue
        except UserError as error:
            logger.warning(f'passed over while resuming: {error}')
            continue
        return file
    return None
