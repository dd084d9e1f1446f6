"""Pretrain by several processes: torchrun --nproc_per_node 2 ddp.py FOLDER_OF_CLASSES."""

import sys

from torch import distributed, nn
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.datasets import ImageFolder

import mmssl


def train(method, loader, epochs):
    optimizer = method.build_optimizer()
    model = nn.parallel.DistributedDataParallel(method, broadcast_buffers=False)
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for step, batch in enumerate(loader, epoch * len(loader)):
            method.begin_step(step, optimizer)
            loss = model(**batch, mode='loss')['loss']
            loss.backward()
            method.clip_gradients()
            optimizer.step()
            optimizer.zero_grad()
            method.end_step()
            yield step, loss.item()


if __name__ == '__main__':  # with GPUs: 'nccl', .cuda(), nn.SyncBatchNorm.convert_sync_batchnorm
    distributed.init_process_group('gloo')
    rank, world = distributed.get_rank(), distributed.get_world_size()
    views = mmssl.build_transform('mocov3', 'resnet18', img_size=32)
    data = ImageFolder(sys.argv[1], transform=views)
    sampler = DistributedSampler(data, drop_last=True)
    loader = DataLoader(
        data, 64 // world, sampler=sampler, drop_last=True, collate_fn=views.collate
    )
    sizes = dict(img_size=32, batch_size=64, epochs=2, steps_per_epoch=len(loader))  # 64 of all
    for step, loss in train(mmssl.build_method('mocov3', 'resnet18', **sizes), loader, epochs=2):
        print(f'rank {rank}, step {step}: loss {loss:.3f}')
    distributed.destroy_process_group()
