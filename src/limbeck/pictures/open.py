"""Pictures of any format, opened as upright RGB; errors name the file and the kind of fault."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from limbeck.archives import MAX_MEMBER_BYTES, open_archive, read_member
from limbeck.errors import LimbeckError
from limbeck.pictures.formats import formats, formats_of, lacking
from limbeck.pictures.shards import parse_place, read_place
from limbeck.pictures.skipped import Kind, PictureError
from limbeck.regular import regular_file

MAX_SIDE = 1 << 18
STRIP_PIXELS = 1 << 21
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
# A member of a zip may unpack to this many bytes, plus this many per pixel.
PLAIN_BYTES, PIXEL_BYTES = 1 << 26, 16
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PixelBudget:
    """A budget of pixels. A picture waits until it fits; one larger than the budget waits until it is alone.

    A thread that holds pixels gets more without waiting, so that threads cannot block each other.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.clear()

    def clear(self) -> None:
        """Forget all holds, as a forked child must."""
        self._free, self._change, self._mine = self.pixels, threading.Condition(), threading.local()

    @property
    def free(self) -> int:
        """The number of pixels that nobody holds."""
        return self._free

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Hold ``pixels`` until the context ends, or until the thread's `keep` ends."""
        held: int = getattr(self._mine, "held", 0)
        taken = min(pixels, self.pixels)
        with self._change:
            if not held:
                self._change.wait_for(lambda: self._free >= taken)
            self._free -= taken
        self._mine.held = held + taken
        try:
            yield
        finally:
            if not getattr(self._mine, "keeps", 0):
                self._release(taken)

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep this thread's holds until the context ends, for work that continues on its pictures."""
        before: int = getattr(self._mine, "held", 0)
        self._mine.keeps = getattr(self._mine, "keeps", 0) + 1
        try:
            yield
        finally:
            self._mine.keeps -= 1
            if not self._mine.keeps:
                self._release(getattr(self._mine, "held", 0) - before)

    def _release(self, pixels: int) -> None:
        self._mine.held = getattr(self._mine, "held", 0) - pixels
        with self._change:
            self._free += pixels
            self._change.notify_all()


# Pillow allocates pictures in blocks of 16 MiB, and the C library keeps blocks of up to 32 MiB for the thread
# that freed them: sixteen alternating threads would hold sixteen large pictures. Larger blocks are returned
# at once.
with contextlib.suppress(AttributeError, ValueError):
    Image.core.set_block_size(1 << 26)
# A decoded pixel takes about 8 bytes at its peak: the picture as it is stored, and as RGB.
PIXEL_BUDGET = PixelBudget(1 << 27)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PIXEL_BUDGET.clear)


def open_picture(source: str | Path, *, archive: Path | None = None, size: int | None = None) -> Image.Image:
    """Open a picture as RGB, upright by its EXIF orientation.

    Alpha is composited on white, 16-bit grey is scaled to 8 bits, and an animation gives its first frame.
    Only the needed part of a file is read. `PIXEL_BUDGET` bounds what all threads decode at once.

    Args:
        source: a file, a place in a shard (`limbeck.pictures.shards`), or the name of a member of
            ``archive``.
        archive: a zip file; handles are kept open per process and shared by its threads.
        size: allow a JPEG to be decoded at 1/2, 1/4 or 1/8 with both sides at least ``size`` pixels.

    Raises:
        PictureError: missing, not a regular file, truncated, damaged, too large, or a required package is
            missing; it names the file, and its ``kind`` is for counting.
    """
    if archive is not None:
        name, number = f"{archive}: {source}", _member_bytes(archive, str(source))
        with PIXEL_BUDGET.hold(number // 4):
            return decode_picture(io.BytesIO(read_member(archive, str(source))), name, size=size)
    if place := parse_place(str(source)):
        return decode_picture(io.BytesIO(read_place(place)), str(source), size=size)
    try:
        with _regular(source).open("rb") as stream:
            return decode_picture(stream, str(source), size=size)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unopened(source, error) from None


def picture_bytes(source: str | Path, archive: Path | None = None) -> bytes:
    """Return the encoded picture: a file, a place in a shard, or a member of a zip file.

    Raises:
        PictureError: missing, not a regular file, or larger than 1 GiB.
    """
    if archive is not None:
        return read_member(archive, str(source))
    if place := parse_place(str(source)):
        return read_place(place)
    try:
        file = _regular(source)
        if file.stat().st_size > MAX_MEMBER_BYTES:
            raise PictureError(f"{source}: is larger than 1 GiB; make it smaller", Kind.TOO_LARGE)
        return file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unopened(source, error) from None


def decode_picture(
    stream: BinaryIO, name: str, *, size: int | None = None, only: tuple[str, ...] | None = None
) -> Image.Image:
    """Decode a picture from an open stream; errors contain ``name``. See `open_picture`.

    ``only`` has the formats that are tried, in Pillow's names; all by default.
    """
    with _header(stream, name, only) as image:
        if size is not None and image.format == "JPEG":
            image.draft(None, (size, size))
        with PIXEL_BUDGET.hold(image.width * image.height):
            return _upright_rgb(image)


def picture_size(stream: BinaryIO, name: str, *, only: tuple[str, ...] | None = None) -> tuple[int, int]:
    """Return width and height by the header of a picture, which is not decoded; see `decode_picture`."""
    with _header(stream, name, only) as image:
        return image.size


@contextmanager
def _header(stream: BinaryIO, name: str, only: tuple[str, ...] | None) -> Iterator[Image.Image]:
    """Open a picture without decoding it; whatever then fails with it is a `PictureError`."""
    try:
        with Image.open(stream, formats=formats() if only is None else only) as image:
            if max(image.size) > MAX_SIDE:
                sides = f"{image.width:,} × {image.height:,}"
                raise PictureError(
                    f"{name}: {sides} pixels exceed the limit of {MAX_SIDE:,} per side; scale it down",
                    Kind.TOO_LARGE,
                )
            yield image
    except LimbeckError:
        raise
    except UnidentifiedImageError:
        raise _unidentified(stream, name) from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PictureError(
            f"{name}: has more than {most:,} pixels; scale the picture down", Kind.TOO_LARGE
        ) from None
    except MemoryError:
        raise PictureError(
            f"{name}: there is not enough memory to decode it; scale the picture down", Kind.TOO_LARGE
        ) from None
    except Exception as error:  # Pillow's plug-ins raise a dozen types on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PictureError(
            f"{name}: cannot read the picture ({reason}); replace or remove it", Kind.DAMAGED
        ) from None


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Return the pixels as RGB, rotated by the orientation that is left after decoding.

    Pillow's TIFF plug-in rotates while decoding, and HEIC decoders follow the picture's own boxes; both then
    remove the orientation from the EXIF data. It is therefore read after decoding and applied once.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    upright = to_rgb(image)
    return upright if turn is None else upright.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1–8; damaged EXIF data counts as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _unidentified(stream: BinaryIO, name: str) -> PictureError:
    stream.seek(0)
    head = stream.read(64)
    wanted = lacking(head)
    if wanted is not None:
        return PictureError(f"{name}: {wanted}", Kind.NEEDS_EXTRA)
    known = formats_of(head)
    reason, kind = (
        (f"damaged {known[0]} header", Kind.DAMAGED) if known else ("not a picture", Kind.NOT_PICTURE)
    )
    return PictureError(f"{name}: cannot read the picture ({reason}); replace or remove it", kind)


def _member_bytes(archive: Path, member: str) -> int:
    """Return the unpacked size of a member; one far larger than its picture is refused before unpacking."""
    opened = open_archive(archive)
    info = opened.find(member)
    if info is None or info.file_size <= PLAIN_BYTES:
        return 0 if info is None else info.file_size
    try:
        with (
            opened.lock,
            opened.handle.open(info) as stream,
            Image.open(stream, formats=formats()) as image,  # the header only
        ):
            most = PLAIN_BYTES + PIXEL_BYTES * image.width * image.height
    except Exception:  # damaged, locked or no picture: reported when it is read, if it is small enough
        most = PLAIN_BYTES
    if info.file_size > most:
        raise PictureError(
            f"{archive}: {member} unpacks to {info.file_size:,} bytes, too many for its picture; remove it",
            Kind.TOO_LARGE,
        )
    return info.file_size


def _regular(source: str | Path) -> Path:
    try:
        return regular_file(source)
    except LimbeckError as error:
        raise PictureError(str(error), Kind.NOT_REGULAR) from None


def _unopened(source: str | Path, error: OSError | ValueError) -> PictureError:
    kind = Kind.MISSING if isinstance(error, FileNotFoundError | NotADirectoryError) else Kind.UNREADABLE
    return PictureError(
        f"{source}: cannot open the picture ({getattr(error, 'strerror', error)}); restore it", kind
    )


class LazyPictures(Sequence[Image.Image]):
    """A sequence that opens a picture on access and keeps none.

    Args:
        opens: functions that open one picture each.
    """

    def __init__(self, opens: Sequence[Callable[[], Image.Image]]) -> None:
        self._opens = opens

    def __len__(self) -> int:
        return len(self._opens)

    @overload
    def __getitem__(self, at: int) -> Image.Image: ...

    @overload
    def __getitem__(self, at: slice) -> LazyPictures: ...

    def __getitem__(self, at: int | slice) -> Image.Image | LazyPictures:
        return LazyPictures(self._opens[at]) if isinstance(at, slice) else self._opens[at]()

    def __iter__(self) -> Iterator[Image.Image]:
        for opens in self._opens:
            yield opens()

    def take(self, positions: Sequence[int]) -> LazyPictures:
        """Return the pictures at some positions, in their order; none is opened yet."""
        return LazyPictures([self._opens[at] for at in positions])


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB: alpha on white, 16-bit grey and floats scaled, never clipped."""
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        image = _scale_deep_grey(image)
    if image.width * image.height <= STRIP_PIXELS or image.mode == "RGB":
        return _convert(image)
    out = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        out.paste(_convert(strip), (0, top))
    return out


def _convert(image: Image.Image) -> Image.Image:
    if "transparency" not in image.info and image.mode not in _ALPHA:
        return image.convert("RGB")
    layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield strips of rows with their upper edges; each has about `STRIP_PIXELS` pixels."""
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _scale_deep_grey(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float grey to 8 bits; the range is 65535 (floats: 1.0) or wider if needed."""
    low, high = 0.0, -np.inf
    for _, strip in _strips(image):
        values = _finite(strip)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    top = high - low
    full = 65535.0 if image.mode != "F" else (1.0 if top <= 1.0 else 255.0)
    out = Image.new("L", image.size)
    for above, strip in _strips(image):
        scaled = np.rint((_finite(strip) - low) * (255.0 / max(full, top)))
        out.paste(Image.fromarray(scaled.astype(np.uint8)), (0, above))
    return out


def _finite(strip: Image.Image) -> np.ndarray:
    """Return the values of a strip (h, w) as float64; values that are not finite count as 0."""
    return np.nan_to_num(np.asarray(strip).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
