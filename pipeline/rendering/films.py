"""Files that pictures go into one after another: MP4 and GIF through PyAV, PNG through Pillow. Memory stays at one picture."""

from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.rendering.canvas import Picture, paint_picture
from pipeline.rendering.footer import check_pillow
from pipeline.rendering.palette import Palette
from pipeline.schema.errors import MissingExtraError, SaccadeError, UsageError

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream

# H.264 at a quality that shows no blocks on flat ground; the fast preset, because events are noise that no search compresses.
_H264 = {"crf": "18", "preset": "veryfast"}
# BT.709 in the numbering of FFmpeg: what players assume for video of this kind, said so that colours stay ours.
_BT709 = 1
N_GIF_COLOURS = 256
# Browsers play delays below 20 ms at a tenth of a second.
_MAX_GIF_FPS = 50
# Steps of ON and OFF strength in a GIF's palette: 14 * 14 + 3 * 20 = 256.
_N_GIF_LEVELS = 14
_N_GIF_RAMP = 20


class Film:
    """A video being written: H.264 in MP4, or GIF, told by the ending. All pictures have the size of the first one."""

    def __init__(self, path: Path, fps: float, palette: Palette) -> None:
        self._av = _import_av()
        check_pillow()
        self._is_gif = path.suffix.lower() == ".gif"
        if self._is_gif and fps > _MAX_GIF_FPS:
            raise UsageError(f"--fps {fps:g} is more than a GIF can show; {_MAX_GIF_FPS} is the most")
        self._path = path
        self._rate = Fraction(fps).limit_denominator(1000)
        self._colours = gif_palette(palette) if self._is_gif else None
        self._nearest = np.full(1 << 24 if self._is_gif else 0, -1, dtype=np.int16)
        try:
            # PyAV opens the file at the first picture, too late for a clear refusal
            path.open("wb").close()
            self._container = self._av.open(str(path), "w", format="gif" if self._is_gif else "mp4")
        except (OSError, ValueError) as error:
            raise SaccadeError(f"{path} cannot be written: {error}") from None
        self._stream: VideoStream | None = None
        self._n_pictures = 0

    def write(self, picture: Picture) -> None:
        """Take the next picture, uint8 (H, W, 3)."""
        if not self._is_gif:
            picture = pad_to_even(picture)
        frame = self._make_frame(picture)
        frame.pts, frame.time_base = self._n_pictures, 1 / self._rate
        self._n_pictures += 1
        try:
            if self._stream is None:
                self._stream = self._add_stream(frame.width, frame.height)
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise SaccadeError(f"{self._path} cannot be written: {error}") from None

    def close(self) -> None:
        """Finish the file; may be called twice."""
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
                self._stream = None
            self._container.close()
        except OSError as error:
            raise SaccadeError(f"{self._path} cannot be written: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _add_stream(self, width: int, height: int) -> "VideoStream":
        stream: VideoStream
        if self._is_gif:
            stream = self._container.add_stream("gif", rate=self._rate)
        else:
            has_h264 = "libx264" in self._av.codecs_available
            stream = self._container.add_stream(
                "libx264" if has_h264 else "mpeg4", rate=self._rate, options=_H264 if has_h264 else {"q": "3"}
            )
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
        stream.width, stream.height = width, height
        stream.pix_fmt = "pal8" if self._is_gif else "yuv420p"
        return stream

    def _make_frame(self, picture: Picture) -> "VideoFrame":
        if self._colours is None:
            frame: VideoFrame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
            return frame.reformat(format="yuv420p", dst_colorspace=_BT709)
        indices = np.empty(picture.shape[:2], dtype=np.uint8)
        match_colours(picture, self._colours, self._nearest, indices)
        # PyAV wants alpha first
        table = np.hstack([np.full((N_GIF_COLOURS, 1), 255, np.uint8), self._colours])
        return self._av.VideoFrame.from_ndarray((indices, table), format="pal8")  # type: ignore[no-any-return] # late import


def write_png(path: Path, picture: Picture) -> None:
    """Write one picture, uint8 (H, W, 3)."""
    check_pillow()
    from PIL import Image

    try:
        Image.fromarray(picture).save(path, format="PNG", optimize=True)
    except (OSError, ValueError) as error:
        raise SaccadeError(f"{path} cannot be written: {error}") from None


def pad_to_even(picture: Picture) -> Picture:
    """The picture with its last column and row repeated where their number is odd, as H.264 wants it."""
    height, width, _ = picture.shape
    if height % 2 == 0 and width % 2 == 0:
        return picture
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def gif_palette(palette: Palette) -> npt.NDArray[np.uint8]:
    """The colours of a GIF, uint8 (256, 3): all that `paint` makes of 14 x 14 strengths, and ramps from footer to its inks."""
    levels = np.linspace(0, 1, _N_GIF_LEVELS, dtype=np.float32)
    grid = np.stack(np.meshgrid(levels, levels, indexing="ij"))
    events = paint_picture(grid, palette.of_events(), 1).reshape(-1, 3)
    shares = np.linspace(0, 1, _N_GIF_RAMP)[:, None]
    footer = np.array(palette.footer)
    ramps = [np.round(footer + shares * (np.array(ink) - footer)) for ink in (palette.text, palette.dim, palette.accent)]
    colours: npt.NDArray[np.uint8] = np.vstack([events, *ramps]).astype(np.uint8)
    assert colours.shape == (N_GIF_COLOURS, 3)
    return colours


@njit(cache=True, nogil=True)
def match_colours(
    picture: npt.NDArray[np.uint8],
    colours: npt.NDArray[np.uint8],
    nearest: npt.NDArray[np.int16],
    indices: npt.NDArray[np.uint8],
) -> None:
    """Index of the nearest of the colours, uint8 (n, 3), for each pixel of a picture, uint8 (H, W, 3), into uint8 (H, W).

    `nearest` is int16 (2**24,), -1 where a colour was not met yet: a picture has few, so that each is searched once. No
    dithering, which would make noise of what has none.
    """
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            r, g, b = np.int64(picture[y, x, 0]), np.int64(picture[y, x, 1]), np.int64(picture[y, x, 2])
            colour = r << 16 | g << 8 | b
            if nearest[colour] < 0:
                smallest = 3 << 16
                for i in range(colours.shape[0]):
                    distance = (r - colours[i, 0]) ** 2 + (g - colours[i, 1]) ** 2 + (b - colours[i, 2]) ** 2
                    if distance < smallest:
                        smallest = distance
                        nearest[colour] = i
            indices[y, x] = nearest[colour]


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError:
        raise MissingExtraError("video", "PyAV") from None
    return av
