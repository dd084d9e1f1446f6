"""ADE20K as iBOT's segmentors train on it: half precision, weight decay 0.05."""

_base_ = './ade20k_poly-160k.py'

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(weight_decay=0.05),
    paramwise_cfg=dict(_delete_=True))

# windows of 512 px want no side below that
sides = [max(512, int(512 * r)) for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='ResizeShortestEdge', scale=side, max_size=10**6) for side in sides],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations', reduce_zero_label=True)],
        [dict(type='PackSegInputs')]])]
