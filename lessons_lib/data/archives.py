"""Unpack archives from strangers: every path is checked before anything is written."""

import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import DataError

# All that zipfile and its decompressors raise when the bytes are not what they should be.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    UnicodeDecodeError,
)


def unpack_zip(archive: str | os.PathLike[str], target: Path, max_bytes: int) -> None:
    """Unpack a zip into ``target``, which then exists whole or not at all.

    Args:
        archive: The zip file.
        target: A folder that does not exist yet; its parent does.
        max_bytes: Most bytes that the unpacked files may have together.

    Raises:
        DataError: Not a zip, truncated or damaged, or a member is absolute, leaves the folder, is
            a link or encrypted, comes twice, or all together are too large. Names archive and
            member; nothing is written.
        FileExistsError: ``target`` is there already.
    """
    if target.exists():
        raise FileExistsError(f"{target}: exists already")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            check_members(Path(archive), members, max_bytes)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            try:
                for member in members:
                    _unpack_member(opened, member, temporary)
                temporary.chmod(0o755)
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except DAMAGE as error:
        raise DataError(f"{archive}: not a whole zip archive ({error})") from error


def check_members(archive: Path, members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    """Raise DataError for the first member that is not safe to unpack."""
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if problem := _problem(member):
            raise DataError(f"{archive}: member {name!r} {problem}; nothing was unpacked")
        key = str(PurePosixPath(name)).casefold()
        if key in seen:
            raise DataError(f"{archive}: member {name!r} comes twice; nothing was unpacked")
        seen.add(key)
    check_total(archive, sum(member.file_size for member in members), max_bytes)


def _problem(member: zipfile.ZipInfo) -> str | None:
    if problem := path_problem(member.orig_filename):
        return problem
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return "is encrypted" if member.flag_bits & 1 else None


def path_problem(name: str) -> str | None:
    """Why a member of this name must not be unpacked, or None."""
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive or "\0" in name:
        return "has an absolute path"
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        return "leaves the folder with '..'"
    return None


def check_total(archive: Path, total: int, max_bytes: int) -> None:
    """Raise DataError if an archive's members are more bytes together than expected."""
    if total > max_bytes:
        raise DataError(
            f"{archive}: unpacks to {total:,} bytes; at most {max_bytes:,} are expected; "
            "nothing was unpacked"
        )


def _unpack_member(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one member; ``zipfile`` itself stops at its stated size and checks its checksum."""
    path = folder / PurePosixPath(member.filename)
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, path.open("wb") as sink:
        shutil.copyfileobj(source, sink)
