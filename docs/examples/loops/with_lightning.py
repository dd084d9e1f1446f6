"""Pretrain with Lightning: python with_lightning.py FOLDER_OF_CLASSES."""

import sys

from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import mmssl


class Training(LightningModule):
    def __init__(self, method):
        super().__init__()
        self.method = method

    def configure_optimizers(self):
        return self.method.build_optimizer()

    def on_train_batch_start(self, batch, batch_idx):
        self.method.begin_step(self.global_step, self.optimizers().optimizer)

    def training_step(self, batch, batch_idx):
        losses = self.method(**batch, mode='loss')
        self.log_dict(losses, prog_bar=True)
        return losses

    def on_before_optimizer_step(self, optimizer):
        self.method.clip_gradients()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.method.end_step()


if __name__ == '__main__':
    views = mmssl.build_transform('mocov3', 'resnet18', img_size=32)
    data = ImageFolder(sys.argv[1], transform=views)
    loader = DataLoader(data, 64, shuffle=True, drop_last=True, collate_fn=views.collate)
    sizes = dict(img_size=32, batch_size=64, epochs=2, steps_per_epoch=len(loader))
    Trainer(max_epochs=2).fit(Training(mmssl.build_method('mocov3', 'resnet18', **sizes)), loader)
