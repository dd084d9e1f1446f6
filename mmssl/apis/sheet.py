"""Pictures with what a classifier says of them, saved or shown."""

from pathlib import Path
from typing import Any

from PIL import Image

from ..evaluation.predictions import caption, captioned


class Sheet:
    """Draws predictions as they come; without ``show`` and ``show_dir`` it does nothing.

    ``resize`` is the height in pixels, ``rescale_factor`` that of the text; ``wait_time`` is how
    many seconds a window stays, 0 until it is closed.
    """

    def __init__(
        self,
        show_dir: str | Path | None = None,
        show: bool = False,
        wait_time: float = 0,
        resize: int | None = None,
        rescale_factor: float | None = None,
        draw_score: bool = True,
    ) -> None:
        self.folder = None if show_dir is None else Path(show_dir)
        self.show, self.wait = show, wait_time
        self.height, self.font = resize or 256, round(10 * (rescale_factor or 1))
        self.score, self.count = draw_score, 0

    def add(self, picture: Image.Image, record: dict[str, Any]) -> None:
        """Draw one picture, numbered in the order they come."""
        if not (self.show or self.folder):
            return
        text = caption(record, self.score)
        sheet = captioned(picture, text, 'black', self.height, self.font)
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            sheet.save(self.folder / f'{self.count:06d}.png')
        if self.show:
            self._window(sheet)
        self.count += 1

    def _window(self, sheet: Image.Image) -> None:
        from matplotlib import pyplot

        figure = pyplot.figure()
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(sheet)
        if self.wait:
            pyplot.pause(self.wait)
        else:
            pyplot.show()
        pyplot.close(figure)
