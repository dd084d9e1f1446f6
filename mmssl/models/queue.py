"""Queues and banks of past embeddings, as buffers: saved, resumed and equal on all ranks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core import UserError, dist


class Queue(nn.Module):
    """Ring buffer of the last ``length`` keys of width ``dim`` (MoCo, sec. 3.2).

    Banks, one per view in MoBY, are (D, K) of unit columns, random at first, and share one
    pointer. `push` only collects: the keys of all micro-batches are written by `end_step`, after
    the optimizer step, so that gradient accumulation sees one queue (the official codes write
    during the forward, which is the same without accumulation). Writing wraps round the end.
    Raises UserError for a length below 1; the config key is ``model.queue_length``.
    """

    pointer: Tensor

    def __init__(self, dim: int, length: int, banks: int = 1) -> None:
        super().__init__()
        if length < 1:
            raise UserError(
                f'model.queue_length={length}: must be at least 1',
                key='model.queue_length',
                value=length,
            )
        self.length = length
        self.banks = banks
        for i in range(banks):
            self.register_buffer(f'bank{i}', F.normalize(torch.randn(dim, length), dim=0))
        self.register_buffer('pointer', torch.zeros(1, dtype=torch.long))
        self.pending: list[list[Tensor]] = []

    def forward(self) -> list[Tensor]:
        """Return the banks, (D, K) each, as they are before this step's keys."""
        return [self.get_buffer(f'bank{i}') for i in range(self.banks)]

    def push(self, *keys: Tensor) -> None:
        """Collect keys (B, D), one tensor per bank, from all ranks, in rank order."""
        self.pending.append([dist.gather(F.normalize(k, dim=1)) for k in keys])

    @torch.no_grad()
    def end_step(self) -> None:
        """Write what was collected since the last optimizer step."""
        for keys in self.pending:
            count = len(keys[0])
            at = (self.pointer + torch.arange(count, device=self.pointer.device)) % self.length
            for i, part in enumerate(keys):
                bank = self.get_buffer(f'bank{i}')
                bank[:, at] = part.T.to(bank.dtype)
            self.pointer.copy_((self.pointer + count) % self.length)
        self.pending.clear()

    def drop_step(self) -> None:
        """Forget what was collected since the last optimizer step."""
        self.pending.clear()

    drop_incomplete = drop_step

    def check(self, batch: int) -> None:
        """Check the size of the global batch. Raises UserError when its keys do not fit."""
        if batch > self.length:
            raise UserError(
                f'model.queue_length={self.length} is smaller than the batch of all processes, '
                f'{batch}; raise it, or lower train_dataloader.batch_size',
                key='model.queue_length',
                value=self.length,
            )


class FeatureBank(nn.Module):
    """SwAV's queue of embeddings (A, L, D), newest first, for A assigning crops (sec. 3.1).

    Rank r of W fills rows [r L/W, (r + 1) L/W). Replicated on all ranks and one entry of the
    checkpoint, where upstream keeps a file per rank beside it. A length that is no multiple of
    the batch of all ranks is used only up to the last multiple, as upstream.
    """

    bank: Tensor

    def __init__(self, dim: int, length: int, assigning: int = 2) -> None:
        super().__init__()
        self.length = length
        self.register_buffer('bank', torch.zeros(assigning, length, dim))
        self.full: set[tuple[int, int]] = set()  # crops, and the rows of this rank, that are full
        self.pending: list[list[Tensor]] = []

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load, and forget which rows were full before."""
        super()._load_from_state_dict(*args, **kwargs)
        self.full.clear()

    def _share(self, batch: int) -> int:
        """Return the rows each rank owns for ``batch`` images on each rank."""
        total = batch * dist.world_size()
        return self.length // total * batch

    def read(self, crop: int, batch: int) -> Tensor | None:
        """Return this rank's rows (L/W, D) of a crop once they are full, else None."""
        share = self._share(batch)
        mine = self.bank[crop, dist.rank() * share : (dist.rank() + 1) * share]
        if share and (crop, share) not in self.full and bool(mine[-1].any()):
            self.full.add((crop, share))  # and it stays so: the device is not asked again
        return mine if (crop, share) in self.full else None

    def push(self, embeddings: list[Tensor]) -> None:
        """Collect this rank's embeddings, (B, D) for each assigning crop."""
        self.pending.append([e.detach() for e in embeddings])

    @torch.no_grad()
    def end_step(self) -> None:
        """Shift the bank by the batch and put the collected rows in front, alike on all ranks."""
        for embeddings in self.pending:
            batch = len(embeddings[0])
            share = self._share(batch)
            for crop, part in enumerate(embeddings if share else []):
                new = dist.gather(part.to(self.bank.dtype)).split(batch)
                for r, rows in enumerate(new):
                    own = self.bank[crop, r * share : (r + 1) * share]
                    own.copy_(torch.cat([rows, own[: share - batch]]))
        self.pending.clear()

    def drop_step(self) -> None:
        """Forget what was collected since the last optimizer step."""
        self.pending.clear()

    drop_incomplete = drop_step

    @torch.no_grad()
    def fill(self, rows: Tensor) -> None:
        """Take embeddings (A, L', D) of all ranks, rank by rank, L' at most the length.

        Raises UserError for embeddings of another width or number.
        """
        crops, length, width = self.bank.shape
        if (
            rows.dim() != 3
            or (len(rows), rows.shape[2]) != (crops, width)
            or rows.shape[1] > length
        ):
            raise UserError(
                f'model.head.queue_length={length}: the queue of the file is '
                f'{tuple(rows.shape)}, for {tuple(self.bank.shape)}; set the same length',
                key='model.head.queue_length',
                value=length,
            )
        self.bank[:, : rows.shape[1]] = rows.to(self.bank)
        self.full.clear()

    @torch.no_grad()
    def reorder(self, batch: int, before: int, after: int) -> None:
        """Rearrange a bank that ``before`` processes filled with ``batch`` images per step.

        Place p of a step's global batch is row p // W of rank p % W, as the sampler deals images
        out, so both layouts have one order in common: step, place.
        """
        self.full.clear()
        steps = self.length // batch
        used = self.bank[:, : steps * batch]  # (A, S*B, D)
        if steps:
            shares = used.unflatten(1, (before, steps, batch // before))  # (A, W, S, b, D)
            places = shares.permute(0, 2, 3, 1, 4).flatten(2, 3)  # (A, S, B, D)
            shares = places.unflatten(2, (batch // after, after)).permute(0, 3, 1, 2, 4)
            used.copy_(shares.flatten(1, 3))
