"""Opens picture files without decoding them: recognizes them by their first bytes and checks the limits."""

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
"""Pillow's names of the formats that are read; not EPS, PDF and others whose readers start external programs."""

_READABLE = "JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP and PPM are read"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_STRIPS = (273, 324)
"""Tags of a TIFF file that hold the offsets of its strips or tiles."""
_DIRECTORIES = (34665, 34853, 40965)
"""Tags of a TIFF file that point to the directories of EXIF, GPS and interoperability."""
_BYTES = (1, 2, 6, 7)
"""Types of TIFF tags that hold bytes or text."""
_INTEGERS = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q"}
"""Types of TIFF tags that can point to a directory → format character of `struct`."""
_VIDEO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""Types of the first box of MP4 and QuickTime files; pictures that begin with `ftyp` are recognized earlier."""


@contextmanager
def open_picture(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Opens a file as a PIL image without decoding its pixels.

    Raises:
        InputError: if the file is missing, too large, or not in a supported format.
    """
    name = path_to_text(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            cause = "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
            raise InputError(f"{name}: {cause}; give a picture file.")
        stream = _BoundedReader(io.FileIO(path))
    except OSError as error:
        raise InputError(f"{name}: {_describe_failure(path, error)}") from error
    with stream:
        if status.st_size > MAX_PICTURE_BYTES:
            most = MAX_PICTURE_BYTES >> 20
            raise InputError(f"{name}: is {status.st_size >> 20} MB; at most {most} MB are read. Reduce it first.")
        with _recognize(stream, name) as file:
            yield file


def path_to_text(path: Path) -> str:
    """Formats a path for a message, on one line; a web address keeps both slashes, which `Path` has joined."""
    text = re.sub(r"^(https?|ftp):/+", r"\1://", str(path))
    return text if text.isprintable() else repr(text)


def _describe_failure(path: Path, error: OSError) -> str:
    """Describes why a file cannot be opened, and what to do."""
    if re.match(r"(https?|ftp):/", str(path)):
        return "is a web address; download it first."
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "no such file; give a picture file."
    return f"cannot be read ({error.strerror}); check its permissions."


class _BoundedReader(io.BufferedReader):
    """A file that may be read only in a bounded number of calls, because Pillow reads headers piece by piece in Python.

    Attributes:
        header: position after which nothing may be read; None for no such limit.
    """

    header: int | None = None
    _reads = 0

    def allow(self, calls: int) -> None:
        """Restarts the count and allows this many additional calls."""
        self._reads = -calls

    def read(self, size: int | None = -1) -> bytes:
        """Reads up to `size` bytes, as `io.BufferedReader.read`.

        Raises:
            InputError: if a limit is exceeded.
        """
        self._reads += 1
        if self._reads > MAX_PICTURE_READS or (self.header is not None and self.tell() > self.header):
            name = path_to_text(Path(os.fsdecode(self.name)))
            raise InputError(f"{name}: is made of too many parts; save it again, as PNG or JPEG.")
        return super().read(size)


def _recognize(stream: _BoundedReader, name: str) -> ImageFile.ImageFile:
    """Opens a stream in the format recognized by its first bytes; the file name does not matter.

    `Image.open` is not used: by a global setting it warns above 89 million pixels and refuses above 179 million.
    """
    head = stream.read(16)
    if head[:2] in (b"P1", b"P2", b"P3") and head[2:3].isspace():  # Pillow would take minutes to read a large one.
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
        stream.header = MAX_JPEG_HEADER if format == "JPEG" else None  # Pillow copies the header for every segment.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):  # `Image.open` ignores these, too.
            file = factory(stream, "")
            stream.header = None
            stream.allow(2 * file.width * file.height if format == "BMP" else 0)  # Reads its codes one by one.
            return file
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _open_heif(stream, name)
    raise InputError(f"{name}: {_describe_other(head)}")


def _describe_other(head: bytes) -> str:
    """Describes a file that is not a supported picture, based on its first bytes."""
    if not head:
        return f"is empty; {_READABLE}."
    riff = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    matroska = head[:4] == b"\x1aE\xdf\xa3"
    if riff or matroska or head[4:8] in _VIDEO_BOXES:
        return "is a video; extract frames first."
    return f"is not a supported image, or is damaged; {_READABLE}."


def _open_heif(stream: IO[bytes], name: str) -> ImageFile.ImageFile:
    """Opens a HEIC picture if the optional package that reads it is installed."""
    if not _register_heif():
        raise InputError(f"{name}: is a HEIC picture; pip install 'tfstyle[heif]' to read it, or save it as JPEG.")
    stream.seek(0)
    return Image.OPEN["HEIF"][0](stream, "")


def _register_heif() -> bool:
    """Registers the HEIC reader with Pillow; returns whether it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


@functools.cache
def _silence_libtiff() -> None:
    """Stops libtiff and Pillow from writing about damaged TIFF files to standard error.

    libtiff writes from C; its handlers are set in the copy that Pillow's extension is linked with. On systems that do
    not export them (Windows), its messages still appear.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def _check_tags(stream: IO[bytes], name: str) -> None:
    """Checks that a TIFF file has no more strips, tiles and numbers in its tags than real files do.

    Pillow makes a Python object of each of them, in the first directory and in those that it points to.

    Raises:
        InputError: if it has more.
    """
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    number, start, entry = ("H", "I", "HHI4s") if b"\x2b" not in head[2:4] else ("Q", "8xQ", "HHQ8s")
    try:
        places, numbers = [struct.unpack_from(f"{order}{start}", head, 4 if number == "H" else 0)[0]], 0
        for place in places:  # The list grows by the directories that are found.
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
        return  # Damaged; Pillow reports where.
    finally:
        stream.seek(0)
