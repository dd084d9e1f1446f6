"""EsViT, view and region task, beside the other methods: four local views more."""

_base_ = './esvit_vit-conv-v_1xb64-16e_shapes.py'

model = dict(
    region=True,
    weights=(1.0, 0.1),     # at equal weights the regions, soon solved, leave classes unlearnt
    teacher_temp=dict(start=0.02, shape='constant'))
