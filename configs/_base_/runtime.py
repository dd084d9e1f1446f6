"""What no run changes: scope, hooks, processes, logs."""

default_scope = 'mmssl'
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=3, iterations=1000),
    faults=dict(type='FaultHook', non_finite='stop'),
    bad_images=dict(type='BadImageHook'),
    health=dict(type='HealthHook'),
    record=dict(type='RecordHook'))
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(timeout=1800))
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LineProcessor')
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
