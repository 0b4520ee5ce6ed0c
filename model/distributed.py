"""The processes of one training run in, what each of them does out: data parallelism as torchrun starts it.

Every process draws the same batches and takes each n-th row of them. A loss is a sum over a process' own rows, divided
by what the whole batch has, and sees the targets of all rows: so the sum of the processes' gradients is the gradient of
the whole batch, contrast included. Only the first process writes and speaks.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """One process among `size`."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """It is the one that writes and speaks."""
        return self.rank == 0

    def mine(self, rows: Any) -> Any:
        """Each `size`-th of the rows of an array or tensor, from `rank` on."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def add_arrays(self, *arrays: NDArray[np.float32]) -> None:
        """Replace each array by its sum over all processes."""
        for array in arrays if self.size > 1 else ():
            tensor = torch.from_numpy(array)
            on_device = tensor.cuda() if dist.get_backend() == "nccl" else tensor
            dist.all_reduce(on_device)
            tensor.copy_(on_device)

    def total(self, value: Tensor) -> Tensor:
        """The sum of a scalar over all processes."""
        value = value.detach().clone()
        self.add([value])
        return value

    def agree(self, value: float) -> float:
        """What the first process says: clocks differ, and decisions must not."""
        if self.size == 1:
            return value
        said = torch.tensor(value, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            said = said.cuda()
        dist.broadcast(said, 0)
        return float(said)

    def share_model(self, model: torch.nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)


ALONE = Group()


def join(device: str) -> Group:
    """The group that torchrun started this process in; without torchrun, it is alone."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return ALONE
    cuda = torch.device(device).type == "cuda"
    if not dist.is_initialized():
        # The first step of an optimiser imports this module, and its functions take the group of that moment as their
        # default: imported while there is one, they would keep its threads alive beyond `leave`.
        importlib.import_module("torch.distributed.nn.functional")

        dist.init_process_group("nccl" if cuda else "gloo")
    group = Group(dist.get_rank(), dist.get_world_size())
    if cuda:
        torch.cuda.set_device(group.rank % torch.cuda.device_count())
    return group


def leave() -> None:
    """Part from the group, if there is one, and end its threads: one that outlives the interpreter aborts us."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
