"""From the samples of a small image to a PNG for people to look at, which says that it is not for diagnosis. Pure.

The window is the data set's own where it fits the samples (PS3.3 C.11.2), else what lies between their percentiles.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

SIDE: Final = 256  # pixels of the PNG's longer side at most
NOTE: Final = "Preview, not for diagnosis"
_SHARES: Final = (0.01, 0.99)  # of the samples that are darker than what is black, and white, without a window
_RED, _GREEN, _BLUE = (1.402,), (-0.344136, -0.714136), (1.772,)  # of CR; of CB and CR; of CB: PS3.3 C.7.6.3.1.2
Samples: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Display:
    """How a data set wants its samples shown. `window`: centre and width in rescaled values, when it names one."""

    photometric: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    window: tuple[float, float] | None = None


def draw(samples: Samples, display: Display) -> bytes | None:
    """The PNG of (rows, columns) or (rows, columns, samples); None for colours that samples alone don't tell."""
    if display.photometric == "PALETTE COLOR":
        return None
    if samples.ndim == 3 and samples.shape[2] == 4:  # two pixels share their chrominance: Y1 Y2 CB CR
        samples = samples[..., :2].reshape(samples.shape[0], -1)
    shown = _colours(samples, display) if samples.ndim == 3 else _greys(samples, display)
    return _png(_with_note(_fitted(shown)))


def _greys(samples: Samples, display: Display) -> Samples:
    values = samples.astype(np.float64) * display.slope + display.intercept
    low, high = _range(values, display.window)
    greys = np.clip((values - low) / (high - low), 0, 1) * 255
    return 255 - greys if display.photometric == "MONOCHROME1" else greys


def _range(values: Samples, window: tuple[float, float] | None) -> tuple[float, float]:
    """The values that are black and white."""
    ordered = np.sort(values, axis=None)  # np.percentile imports when it is called, which the sandbox forbids
    least, most = (float(ordered[int(share * (len(ordered) - 1))]) for share in _SHARES)
    if window and window[1] >= 1:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
        if low < most and high > least:  # else all of it would be black, or all white
            return low, high
    return (least, most) if most > least else (least - 1, least + 1)


def _colours(samples: Samples, display: Display) -> Samples:
    colours = samples.astype(np.float64)
    top = float(np.max(colours, initial=0))
    if top > 255:
        colours *= 255 / top
    if display.photometric.startswith("YBR_FULL"):
        luma, blue, red = colours[..., 0], colours[..., 1] - 128, colours[..., 2] - 128
        greens = luma + _GREEN[0] * blue + _GREEN[1] * red
        colours = np.stack([luma + _RED[0] * red, greens, luma + _BLUE[0] * blue], axis=2)
    return np.clip(colours, 0, 255)


def _fitted(shown: Samples) -> Samples:
    """As large as it may be with the note beneath it."""
    rows, columns = shown.shape[:2]
    scale = min((SIDE - _STRIP) / rows, SIDE / columns)
    return _resized(_resized(shown, max(1, int(rows * scale)), 0), max(1, int(columns * scale)), 1)


def _resized(shown: Samples, count: int, axis: int) -> Samples:
    """`count` samples along the axis, each between its two nearest."""
    there = shown.shape[axis]
    at = np.clip((np.arange(count) + 0.5) * there / count - 0.5, 0, there - 1)
    before = np.floor(at).astype(np.int64)
    share = (at - before).reshape([-1 if each == axis else 1 for each in range(shown.ndim)])
    after = np.minimum(before + 1, there - 1)
    resized: Samples = shown.take(before, axis) * (1 - share) + shown.take(after, axis) * share
    return resized


_GLYPHS: Final = {
    "A": ".#. #.# ### #.# #.#",
    "D": "##. #.# #.# #.# ##.",
    "E": "### #.. ##. #.. ###",
    "F": "### #.. ##. #.. #..",
    "G": ".### #... #.## #..# .###",
    "I": "# # # # #",
    "N": "#..# ##.# #.## #..# #..#",
    "O": "### #.# #.# #.# ###",
    "P": "##. #.# ##. #.. #..",
    "R": "##. #.# ##. #.# #.#",
    "S": "### #.. ### ..# ###",
    "T": "### .#. .#. .#. .#.",
    "V": "#.# #.# #.# #.# .#.",
    "W": "#...# #...# #.#.# #.#.# .#.#.",
    ",": ".. .. .. .# #.",
    " ": ".. .. .. .. ..",
}


def _words(text: str) -> Samples:
    """The text in capitals of five rows, white on black, a pixel of margin around it."""
    columns: list[Samples] = []
    for letter in text.upper():
        rows = _GLYPHS[letter].split()
        columns += [np.array([[pixel == "#" for pixel in row] for row in rows]), np.zeros((5, 1), bool)]
    return np.pad(np.hstack(columns), ((2, 2), (2, 1))).astype(np.uint8) * 255


_NOTE: Final = _words(NOTE)
_STRIP: Final = _NOTE.shape[0]


def _with_note(shown: Samples) -> Samples:
    """The image on black, as wide as the note at least, and the note in the rows beneath it."""
    rows, columns = shown.shape[:2]
    width = max(columns, _NOTE.shape[1])
    canvas = np.zeros((rows + _STRIP, width, *shown.shape[2:]), np.uint8)
    left = (width - columns) // 2
    canvas[:rows, left : left + columns] = np.rint(shown)
    canvas[rows:, : _NOTE.shape[1]] = _NOTE if shown.ndim == 2 else _NOTE[..., None]
    return canvas


def _png(canvas: Samples) -> bytes:
    """ISO/IEC 15948, with the note as a text, too."""
    rows, columns = canvas.shape[:2]
    colour = 2 if canvas.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", columns, rows, 8, colour, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in canvas)  # 0: no filter
    text, pixels = b"Comment\0" + NOTE.encode(), zlib.compress(lines, 9)
    chunks = ((b"IHDR", header), (b"tEXt", text), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
