"""EsViT, view and region task, beside the other methods: four local views more.

A laptop's recipe. Given up against Swin-T: the network (a ViT of 2 blocks of 64 channels on 32
px), 64 prototypes for 65,536, four small crops for eight, batch 64 for 512, 16 epochs for 300.
"""

_base_ = './esvit_vit-conv-v_1xb64-16e_shapes.py'

model = dict(
    type='EsViT',
    weights=(1.0, 0.1),     # at equal weights the regions, soon solved, leave classes unlearnt
    teacher_temp=dict(start=0.02, shape='constant'))
