"""Pretrain with accelerate: accelerate launch with_accelerate.py FOLDER_OF_CLASSES."""

import sys

from accelerate import Accelerator
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import mmssl


def train(method, loader, accelerator, epochs):
    model, optimizer, loader = accelerator.prepare(method, method.build_optimizer(), loader)
    for epoch in range(epochs):
        for step, batch in enumerate(loader, epoch * len(loader)):
            method.begin_step(step, optimizer)
            loss = model(**batch, mode='loss')['loss']
            accelerator.backward(loss)
            method.clip_gradients()
            optimizer.step()
            optimizer.zero_grad()
            method.end_step()
            yield step, loss.item()


if __name__ == '__main__':
    accelerator = Accelerator()
    world = accelerator.num_processes
    views = mmssl.build_transform('mocov3', 'resnet18', img_size=32)
    data = ImageFolder(sys.argv[1], transform=views)
    loader = DataLoader(data, 64, shuffle=True, drop_last=True, collate_fn=views.collate)
    sizes = dict(batch_size=64 * world, epochs=2, steps_per_epoch=len(loader) // world)
    method = mmssl.build_method('mocov3', 'resnet18', img_size=32, **sizes)
    for step, loss in train(method, loader, accelerator, epochs=2):
        accelerator.print(f'step {step}: loss {loss:.3f}')
