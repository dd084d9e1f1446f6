"""EsViT, Swin-T (window 7), view task only, 150 epochs on WebVision-v1, batch 1024."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

data_root = 'data/webvision1/'
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        type='ImageDataset', split='', with_label=False,
        source=dict(
            type='ListSource', num_classes=1000,
            ann_file=('info/train_filelist_google.txt', 'info/train_filelist_flickr.txt'))))
val_dataloader = dict(dataset=dict(data_root='data/imagenet/'))   # the published figures' images
model = dict(type='DINO')
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=150)
