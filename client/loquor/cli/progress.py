"""Progress bars on stderr, where somebody watches and `tqdm` is installed; else nothing."""

import sys
from types import TracebackType
from typing import Any, Self


class Progress:
    """One bar at a time, moved by `show`; a new title starts a new one."""

    def __init__(self, *, unit: str, scaled: bool = False) -> None:
        self._unit = unit
        self._scaled = scaled
        self._bar: Any = None
        self._title: str | None = None

    def show(self, title: str, done: float, total: float | None = None) -> None:
        """`done` of `total` units; the total may be unknown."""
        if title != self._title:
            self._start(title, total)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self, title: str, total: float | None) -> None:
        self._stop()
        self._title = title
        if not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ModuleNotFoundError:
            return
        self._bar = tqdm(
            total=total, desc=title, unit=self._unit, unit_scale=self._scaled, file=sys.stderr, dynamic_ncols=True
        )

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
