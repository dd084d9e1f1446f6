"""Parts of replay_golden.py: run one recorded official step with the engine's own parts."""
