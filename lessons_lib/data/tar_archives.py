"""Unpack tar archives from strangers: every path is checked before anything is written."""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from .archives import check_total, path_problem
from .errors import DataError


def unpack_tar(archive: str | os.PathLike[str], target: Path, max_bytes: int) -> None:
    """Unpack a tar, compressed or not, into ``target``, which then exists whole or not at all.

    Args:
        archive: The tar file.
        target: A folder that does not exist yet; its parent does.
        max_bytes: Most bytes that the unpacked files may have together.

    Raises:
        DataError: Not a tar, truncated or damaged, or a member is absolute, leaves the folder, is
            neither file nor folder, comes twice, or all together are too large. Names archive and
            member; nothing is written.
        FileExistsError: ``target`` is there already.
    """
    if target.exists():
        raise FileExistsError(f"{target}: exists already")
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with tarfile.open(archive) as opened:
            members = opened.getmembers()
            _check_members(Path(archive), members, max_bytes)
            for member in members:
                _unpack_member(opened, member, temporary)
        temporary.chmod(0o755)
        temporary.rename(target)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise DataError(f"{archive}: not a whole tar archive ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_members(archive: Path, members: list[tarfile.TarInfo], max_bytes: int) -> None:
    seen: set[str] = set()
    for member in members:
        key = str(PurePosixPath(member.name)).casefold()
        problem = _problem(member)
        if problem is None and member.isreg() and key in seen:
            problem = "comes twice"
        if problem:
            raise DataError(f"{archive}: member {member.name!r} {problem}; nothing was unpacked")
        seen.add(key)
    check_total(archive, sum(member.size for member in members), max_bytes)


def _problem(member: tarfile.TarInfo) -> str | None:
    if problem := path_problem(member.name):
        return problem
    return None if member.isreg() or member.isdir() else "is a link or a device"


def _unpack_member(opened: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder / member.name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = opened.extractfile(member)
    if source is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    with source, path.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    if path.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name} is cut off")
