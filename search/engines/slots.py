"""Which part of this machine each of several worker processes has for itself."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

_TPU_BOUNDS = ("TPU_CHIPS_PER_PROCESS_BOUNDS", "TPU_PROCESS_BOUNDS")
_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Slot:
    """A part of this machine.

    Args:
        name: What it is called in the log.
        cores: Numbers of the CPU cores.
        environment: Environment variables that leave only this part's accelerators visible.
    """

    name: str
    cores: tuple[int, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def machine_slots(workers: int | None = None, devices: Path = Path("/dev")) -> list[Slot]:
    """Divides this machine among worker processes.

    Accelerators are counted by their device files, so that this process does not take hold of them. TPU
    chips are not divided further: a worker has one, or the only worker has all (not run on a TPU).

    Args:
        workers: Number of processes; None for one per accelerator, or per core where there is none.
        devices: Where device files are.

    Returns:
        One slot for each process. More processes than cores or GPUs share them.

    Raises:
        ValueError: `workers` below 1, or a number of them that the TPU chips do not serve.

    Example:
        >>> from tf_autodropout.search.engines.slots import machine_slots
        >>> [slot.name for slot in machine_slots(workers=2)]
        ['worker 0', 'worker 1']
    """
    gpus, chips = _gpus(devices), _files(devices, r"accel(\d+)") or _files(devices / "vfio", r"(\d+)")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    count = workers if workers is not None else len(gpus) or len(chips) or len(cores)
    if count < 1 or (not gpus and chips and count not in (1, len(chips))):
        expected = f"1 or {len(chips)}, the TPU chips" if chips else "an integer >= 1"
        raise ValueError(f"Invalid value for 'workers'. Expected {expected}. Received: workers={count}")
    slots = []
    for index in range(count):
        environment = {}
        if gpus:
            environment = {"CUDA_VISIBLE_DEVICES": ",".join(_part(gpus, index, count))}
        elif chips and count > 1:
            environment = {"TPU_VISIBLE_CHIPS": chips[index]} | dict.fromkeys(_TPU_BOUNDS, "1,1,1")
        if chips:
            environment["TPU_LOAD_LIBRARY"] = "1"  # where the search's own process keeps off the chips
        slots.append(Slot(f"worker {index}", tuple(_part(cores, index, count)), environment))
    return slots


def _gpus(devices: Path) -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    return _files(devices, r"nvidia(\d+)")


def _files(folder: Path, pattern: str) -> list[str]:
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    found = (re.fullmatch(pattern, name) for name in names)
    return sorted((match[1] for match in found if match), key=int)


def _part(things: list[_Thing], index: int, count: int) -> list[_Thing]:
    """The things of one of `count` workers; fewer things than workers are shared."""
    return things[index::count] or [things[index % len(things)]]
