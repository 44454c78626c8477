"""Zip archives read strictly: stored members only, one after the other, with nothing before, between or behind them.

Two readers of one archive may see different things in it, since names, sizes and places stand there twice. Here both
must agree, so that what was checked is what others read, and nothing takes more memory than the bytes that are there.

    with open_plain(path) as file:
        content = read_members(file, str(path), {"policy.pth": 1 << 20, "data": None})
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

from armature.errors import RunError

_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_CENTRAL_BYTES, _END_BYTES, _END64_BYTES = 46, 22, 56 + 20
_DESCRIBED_LATER = 0x8
"""The flag of a member whose sizes stand behind it."""
_UTF8 = 0x800
_IN_EXTRA = 0xFFFFFFFF
"""A size that stands in the member's extra field."""
_MOST = 10_000
"""Members of an archive whose content is not known beforehand."""
DAMAGE = (OSError, KeyError, ValueError, EOFError, OverflowError, NotImplementedError, struct.error, zipfile.BadZipFile)
"""What reading a damaged archive can raise."""


def read_members(file: BinaryIO, where: str, limits: Mapping[str, int | None] | None = None) -> dict[str, bytes]:
    """Read the members of an archive.

    Args:
        file: the archive, open for reading.
        where: its name, for messages.
        limits: the largest size of each member in bytes; None for one that may be there and is not read. No other
            members are allowed. Without limits all are read.

    Raises:
        RunError: there are other members, or larger ones, or the archive is odd or damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = checked_members(file, archive, where, _MOST if limits is None else len(limits))
            if limits is not None:
                members = [member for member in members if _limited(member, limits, where)]
            return {member.filename: archive.read(member) for member in members}
    except DAMAGE as error:
        raise RunError(f"{where} is damaged: {error}.") from error


def _limited(member: zipfile.ZipInfo, limits: Mapping[str, int | None], where: str) -> bool:
    """Return whether a member shall be read; raise `RunError` if it should not be there, or not be so large."""
    name, size = member.filename, member.file_size
    if name not in limits:
        raise RunError(f"{where} is refused: member {name[:80]!r} does not belong there.")
    limit = limits[name]
    if limit is not None and size > limit:
        raise RunError(f"{where} is refused: member {name!r} has {size:,} bytes, and it can have {limit:,} at most.")
    return limit is not None


def checked_members(file: BinaryIO, archive: zipfile.ZipFile, where: str, most: int) -> list[zipfile.ZipInfo]:
    """Return the members of an archive, in their order; raise `RunError` for oddities, or more than `most` of them."""
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    if len({member.filename for member in members}) < len(members):
        raise RunError(f"{where} is refused: it has two members of one name.")
    if len(members) > most:
        raise RunError(f"{where} is refused: it has {len(members)} members, and at most {most} make sense.")
    place = 0
    for member in members:
        fault = _fault(member)
        if fault:
            raise RunError(f"{where} is refused: member {member.filename[:80]!r} {fault}.")
        if member.header_offset != place:
            raise RunError(f"{where} is refused: something stands before member {member.filename[:80]!r}.")
        place += _record_size(file, member, where)
    size = file.seek(0, 2)
    directory = sum(_CENTRAL_BYTES + len(_stored_name(member)) + len(member.extra) for member in members)
    ends = (_END_BYTES, _END64_BYTES + _END_BYTES)
    if archive.comment or place != archive.start_dir or size - place - directory not in ends:
        raise RunError(f"{where} is refused: something stands behind its last member.")
    file.seek(size - _END_BYTES)
    if _END.unpack(file.read(_END_BYTES)) != (b"PK\x05\x06", 0, 0, len(members), len(members), directory, place, 0):
        raise RunError(f"{where} is refused: its end says different things of its directory.")
    return members


def _fault(member: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with a member by its entry in the directory, if anything."""
    if re.search(r"[\x00-\x1f\\]|^[A-Za-z]:", member.orig_filename) or {"", ".", ".."} & set(
        member.filename.split("/")
    ):
        return "has a name that leads elsewhere"
    if member.flag_bits & ~(_DESCRIBED_LATER | _UTF8):
        return "is encrypted, or has other flags that nobody sets"
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        return "is compressed"
    kind = stat.S_IFMT(member.external_attr >> 16)
    return "is no plain file" if kind not in (0, stat.S_IFREG) or member.comment else None


def _record_size(file: BinaryIO, member: zipfile.ZipInfo, where: str) -> int:
    """Return how many bytes a member takes, header and all; raise `RunError` if that contradicts the directory."""
    file.seek(member.header_offset)
    head = _LOCAL.unpack(file.read(_LOCAL.size))
    magic, _, flags, method, _, _, crc, packed, size, name_size, extra_size = head
    name, extra = file.read(name_size), file.read(extra_size)
    taken = _LOCAL.size + name_size + extra_size + member.file_size
    described = (crc, packed, size)
    if flags & _DESCRIBED_LATER:
        descriptor = _descriptor(file, member)
        taken += descriptor
        described = described if any(described) else (member.CRC, member.file_size, member.file_size)
    elif _IN_EXTRA in (packed, size) and extra[:4] == b"\x01\x00\x10\x00":
        described = (crc, *struct.unpack("<2Q", extra[4:20]))
    agreed = (b"PK\x03\x04", member.flag_bits, member.compress_type, _stored_name(member))
    if (magic, flags, method, name) != agreed or described != (member.CRC, member.file_size, member.file_size):
        raise RunError(f"{where} is refused: member {member.filename[:80]!r} says different things of itself.")
    return taken


def _stored_name(member: zipfile.ZipInfo) -> bytes:
    return member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437")


def _descriptor(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return the size of what stands behind a member and repeats its sizes, with 4 or with 8 bytes for each."""
    file.seek(member.file_size, 1)
    found = file.read(24)
    for form in ("<4sLLL", "<4sLQQ"):
        expected = struct.pack(form, b"PK\x07\x08", member.CRC, member.file_size, member.file_size)
        if found.startswith(expected):
            return len(expected)
    return 0  # then the next member does not stand where it should
