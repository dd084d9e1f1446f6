"""Pretrain by a loop of your own, and go on after a stop: python plain.py FOLDER_OF_CLASSES."""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import mmssl


def train(method, loader, epochs, file=Path('run.pth')):
    optimizer, first = method.build_optimizer(), 0
    if file.is_file():
        saved = torch.load(file, weights_only=True)
        method.load_state_dict(saved['method'])
        optimizer.load_state_dict(saved['optimizer'])
        first = saved['epoch']
    for epoch in range(first, epochs):
        for step, batch in enumerate(loader, epoch * len(loader)):
            method.begin_step(step, optimizer)  # rate, decay, a teacher that moves first
            loss = method(**batch, mode='loss')['loss']
            loss.backward()
            method.clip_gradients()  # and frozen layers
            optimizer.step()
            optimizer.zero_grad()
            method.end_step()  # teacher, queue, centre
            yield step, loss.item()
        state = dict(method=method.state_dict(), optimizer=optimizer.state_dict())
        torch.save(dict(state, epoch=epoch + 1), file)


if __name__ == '__main__':
    views = mmssl.build_transform('mocov3', 'resnet18', img_size=32)
    data = ImageFolder(sys.argv[1], transform=views)
    loader = DataLoader(data, 64, shuffle=True, drop_last=True, collate_fn=views.collate)
    sizes = dict(img_size=32, batch_size=64, epochs=2, steps_per_epoch=len(loader))
    for step, loss in train(mmssl.build_method('mocov3', 'resnet18', **sizes), loader, epochs=2):
        print(f'step {step}: loss {loss:.3f}')
