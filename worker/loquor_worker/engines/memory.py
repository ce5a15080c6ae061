"""How much memory a device has free: what a cache may be sized by.

It knows no model. On the CPU that is the machine's, or the container's if that is less.
"""

from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
# Where nothing says how much there is.
_UNKNOWN_BYTES = 1 << 30


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    bounds = [bound for bound in (_available_bytes(), _container_bytes()) if bound is not None]
    return max(0, min(bounds, default=_UNKNOWN_BYTES))


def _available_bytes() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None


def _container_bytes() -> int | None:
    """None without a limit."""
    try:
        limit, used = _CGROUP_LIMIT.read_text().strip(), int(_CGROUP_USED.read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used
