"""Path → an open picture file: recognized by its first bytes, within the limits, not yet decoded."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import logging
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, ImageFile

from tfstyle.errors import InputError
from tfstyle.limits import MAX_JPEG_HEADER, MAX_PICTURE_BYTES, MAX_PICTURE_READS, MAX_STRIPS, MAX_TAG_NUMBERS

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM")
"""What is read. EPS, PDF and the like run programs of their own and are not."""

_READABLE = "JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP and PPM are read"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_STRIPS, _DIRECTORIES = (273, 324), (34665, 34853, 40965)
"""Tags of a TIFF file: offsets of strips and tiles; places of the directories of EXIF, GPS and interoperability."""
_BYTES = (1, 2, 6, 7)
"""Kinds of tags that hold bytes or text."""
_INTEGERS = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q"}
"""Kinds of tags that can point to a directory, and how `struct` calls them."""
_VIDEO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""First box of MP4 and QuickTime; pictures that begin with `ftyp` have been recognized before."""


@contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Opens a file as a PIL image, its pixels not yet decoded.

    Raises:
        InputError: if it is missing, too large or of a kind that is not read.
    """
    name = shown(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            cause = "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
            raise InputError(f"{name}: {cause}; give a picture file.")
        stream = _Metered(io.FileIO(path))
    except OSError as error:
        raise InputError(f"{name}: {_cause(path, error)}") from error
    with stream:
        if status.st_size > MAX_PICTURE_BYTES:
            most = MAX_PICTURE_BYTES >> 20
            raise InputError(f"{name}: is {status.st_size >> 20} MB; at most {most} MB are read. Reduce it first.")
        with _recognized(stream, name) as file:
            yield file


def shown(path: Path) -> str:
    """A path as messages show it: in one line, whatever characters it holds; a web address with both its slashes."""
    text = re.sub(r"^(https?|ftp):/+", r"\1://", str(path))
    return text if text.isprintable() else repr(text)


def _cause(path: Path, error: OSError) -> str:
    """Why a file cannot be opened, and what to do."""
    if re.match(r"(https?|ftp):/", str(path)):
        return "is a web address; download it first."
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "no such file; give a picture file."
    return f"cannot be read ({error.strerror}); check its permissions."


class _Metered(io.BufferedReader):
    """A file that is read in a bounded number of calls: Pillow reads headers piece by piece, in Python.

    Attributes:
        header: position behind which nothing is read; None where there is no such limit.
    """

    header: int | None = None
    _reads = 0

    def allow(self, calls: int) -> None:
        """Begins to count anew, with some more calls than usual."""
        self._reads = -calls

    def read(self, size: int | None = -1) -> bytes:
        """Reads as any file does.

        Raises:
            InputError: on a call too many.
        """
        self._reads += 1
        if self._reads > MAX_PICTURE_READS or (self.header is not None and self.tell() > self.header):
            name = shown(Path(os.fsdecode(self.name)))
            raise InputError(f"{name}: is made of too many parts; save it again, as PNG or JPEG.")
        return super().read(size)


def _recognized(stream: _Metered, name: str) -> ImageFile.ImageFile:
    """Opens a stream by its first bytes, whatever its name says.

    `Image.open` would refuse 179 million pixels and warn of half as many, by a setting of the whole process.
    """
    head = stream.read(16)
    if head[:2] in (b"P1", b"P2", b"P3") and head[2:3].isspace():  # Pillow would take minutes for a large one.
        raise InputError(f"{name}: is a PPM in the form of text; save it in binary form.")
    Image.init()
    for format in FORMATS:
        factory, accept = Image.OPEN[format]
        if accept is not None and not accept(head):
            continue
        stream.seek(0)
        if format == "TIFF":
            _silence_libtiff()
            _check_tags(stream, name)
        stream.header = MAX_JPEG_HEADER if format == "JPEG" else None  # Pillow copies it again for every part.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):  # What Pillow passes over.
            file = factory(stream, "")
            stream.header = None
            stream.allow(2 * file.width * file.height if format == "BMP" else 0)  # Its runs are read one by one.
            return file
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _heif(stream, name)
    raise InputError(f"{name}: {_what_else(head)}")


def _what_else(head: bytes) -> str:
    """What a file is that is no picture, by its first bytes."""
    if not head:
        return f"is empty; {_READABLE}."
    riff = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    matroska = head[:4] == b"\x1aE\xdf\xa3"
    if riff or matroska or head[4:8] in _VIDEO_BOXES:
        return "is a video; extract frames first."
    return f"is not a supported image, or is damaged; {_READABLE}."


def _heif(stream: IO[bytes], name: str) -> ImageFile.ImageFile:
    """Opens a HEIC picture, where the extra that reads it is installed."""
    if not _register_heif():
        raise InputError(f"{name}: is a HEIC picture; pip install 'tfstyle[heif]' to read it, or save it as JPEG.")
    stream.seek(0)
    return Image.OPEN["HEIF"][0](stream, "")


def _register_heif() -> bool:
    """Makes Pillow read HEIC, where the extra is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


@functools.cache
def _silence_libtiff() -> None:
    """Keeps what libtiff and Pillow write to standard error about damaged TIFF files away from it.

    libtiff writes from C unless it is told otherwise, through the copy that Pillow's extension is linked with. Where
    that one is not exported (Windows), its lines stay.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def _check_tags(stream: IO[bytes], name: str) -> None:
    """Refuses a TIFF file of more strips, tiles or numbers in its tags than any writer makes.

    Pillow makes an object of each, in the first directory and in those that it points to.
    """
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    number, start, entry = ("H", "I", "HHI4s") if b"\x2b" not in head[2:4] else ("Q", "8xQ", "HHQ8s")
    try:
        places, numbers = [struct.unpack_from(f"{order}{start}", head, 4 if number == "H" else 0)[0]], 0
        for place in places:  # Which grows by the directories that are found.
            stream.seek(place)
            (count,) = struct.unpack(f"{order}{number}", stream.read(struct.calcsize(f"{order}{number}")))
            for _ in range(count):
                tag, kind, length, value = struct.unpack(
                    f"{order}{entry}", stream.read(struct.calcsize(f"{order}{entry}"))
                )
                if tag in _STRIPS and length > MAX_STRIPS:
                    raise InputError(f"{name}: has {length} strips or tiles; save it again, with fewer.")
                numbers += 0 if kind in _BYTES else length
                if numbers > MAX_TAG_NUMBERS:
                    raise InputError(f"{name}: has more than {MAX_TAG_NUMBERS} numbers in its tags; save it again.")
                if tag in _DIRECTORIES and kind in _INTEGERS:
                    pointed = struct.unpack_from(f"{order}{_INTEGERS[kind]}", value)[0]
                    places += [pointed] if pointed >= 0 and pointed not in places else []
    except (struct.error, OverflowError, OSError):
        return  # Damaged: Pillow finds out where.
    finally:
        stream.seek(0)
