"""A runner for studies: it logs to its work dir alone."""

from pathlib import Path

from mmengine.config import Config

from mmssl.engine import Runner


def quiet_runner(cfg: Config, work_dir: str | Path) -> Runner:
    """Return the runner of a config in one process, which prints errors alone."""
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = Path(work_dir).name
    cfg.launcher = 'none'
    cfg.log_level = 'ERROR'
    return Runner.from_cfg(cfg)
