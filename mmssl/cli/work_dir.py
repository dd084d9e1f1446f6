"""The folder of a run (work dir): how it is chosen and named."""

from pathlib import Path

from mmengine.config import Config

ROOT = 'work_dirs'


def set_work_dir(cfg: Config, config_file: str, given: str | None) -> None:
    """Set ``cfg.work_dir``: the option's, the config's, or ``work_dirs/<config's file name>``."""
    cfg.work_dir = given or cfg.get('work_dir') or str(Path(ROOT) / Path(config_file).stem)
