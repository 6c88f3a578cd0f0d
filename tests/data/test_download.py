"""Downloads, against a server on this machine only; archives from strangers."""

import dataclasses
import functools
import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lessons_lib.data import DataError, DownloadError, Nuclei, download, fetch, root
from lessons_lib.data.archives import unpack_zip

from .nuclei_trees import blobs, original_tree

LIMIT = 10**6


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zipped_tree(folder: Path) -> bytes:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return zipped({str(path.relative_to(folder)): path.read_bytes() for path in files})


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; a file ``cut-…`` is announced whole and breaks off in the middle."""

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        if not self.path.startswith("/cut-"):
            return super().do_GET()
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        return None


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, bytes], str]]:
    """server("a.zip", data) puts a file up and returns its address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()

        def put(name: str, data: bytes) -> str:
            (folder / name).write_bytes(data)
            return f"http://127.0.0.1:{running.server_port}/{name}"

        yield put
        running.shutdown()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """register(url, sha256) lets the name "nuclei" point to another address."""

    def change(url: str, sha256: str | None) -> None:
        source = dataclasses.replace(
            download.SOURCES["nuclei"], url=url, sha256=sha256, max_bytes=LIMIT
        )
        monkeypatch.setitem(download.SOURCES, "nuclei", source)

    return change


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    return zipped_tree(original_tree(tmp_path / "tree", {"a": blobs(0), "b": blobs(1)}))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("hash_known", [True, False])
def test_fetch(
    tmp_path: Path,
    server: Callable[[str, bytes], str],
    register: Callable[..., None],
    good: bytes,
    hash_known: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(server("good.zip", good), sha(good) if hash_known else None)
    folder = fetch("nuclei", tmp_path / "data", progress=False)
    assert folder == tmp_path / "data" / "dsb2018"
    assert files_in(folder / "stage1_train") == files_in(tmp_path / "tree")
    assert [path.name for path in folder.iterdir()] == ["stage1_train"]
    assert Nuclei(folder, split="all").ids == ["a", "b"]
    assert ("no hash is known" in capsys.readouterr().out) != hash_known
    register("http://127.0.0.1:9/never-asked", None)
    assert fetch("nuclei", tmp_path / "data") == folder


def test_nuclei_downloads_only_on_request(
    tmp_path: Path,
    server: Callable[[str, bytes], str],
    register: Callable[..., None],
    good: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path / "data"))
    register(server("good.zip", good), sha(good))
    with pytest.raises(FileNotFoundError, match="lessons data fetch nuclei"):
        Nuclei()
    assert not (tmp_path / "data").exists()
    assert len(Nuclei(split="all", download=True)) == 2


@pytest.mark.parametrize("wrong", ["absent", "hash", "cut", "short", "evil", "no server"])
def test_failed_fetch_says_what_to_do_by_hand(
    tmp_path: Path,
    server: Callable[[str, bytes], str],
    register: Callable[..., None],
    good: bytes,
    wrong: str,
) -> None:
    evil = zipped({"a/ok.txt": b"", "../out.txt": b"gotcha"})
    url, sha256 = {
        "absent": lambda: (server("other.zip", good).replace("other", "absent"), sha(good)),
        "hash": lambda: (server("good.zip", good), sha(b"another")),
        "cut": lambda: (server("cut-good.zip", good), sha(good)),
        "short": lambda: (server("short.zip", good[:-300]), None),
        "evil": lambda: (server("evil.zip", evil), sha(evil)),
        "no server": lambda: ("http://127.0.0.1:9/good.zip", sha(good)),
    }[wrong]()
    register(url, sha256)
    with pytest.raises(DownloadError) as caught:
        fetch("nuclei", tmp_path / "data", progress=False)
    message = str(caught.value)
    assert url in message
    assert str(tmp_path / "data" / "dsb2018" / "stage1_train.zip") in message
    assert sha256 is None or sha256 in message
    assert files_in(tmp_path / "data") == []
    assert not (tmp_path / "data" / "dsb2018" / "stage1_train").exists()


def test_archive_put_there_by_hand(
    tmp_path: Path, register: Callable[..., None], good: bytes
) -> None:
    register("http://127.0.0.1:9/never-asked", sha(good))
    archive = tmp_path / "dsb2018" / "stage1_train.zip"
    archive.parent.mkdir()
    archive.write_bytes(good[:-1])
    with pytest.raises(DownloadError, match="its SHA-256 is"):
        fetch("nuclei", tmp_path)
    archive.write_bytes(good)
    assert Nuclei(fetch("nuclei", tmp_path), split="all").ids == ["a", "b"]
    assert archive.exists()


def test_unknown_name_and_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="data set is 'atoms'; expected one of nuclei"):
        fetch("atoms", tmp_path)
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    assert root() == tmp_path and root("elsewhere") == Path("elsewhere")
    monkeypatch.delenv("LESSONS_DATA")
    assert root().name == "lessons_lib"


# --- archives ---------------------------------------------------------------------------------


def link(name: str) -> tuple[zipfile.ZipInfo, bytes]:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, b"/etc"


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ([("../out", b"")], r"leaves the folder with '\.\.'"),
        ([("a/../../out", b"")], r"leaves the folder with '\.\.'"),
        ([("a\\..\\..\\out", b"")], "leaves the folder"),
        ([("/tmp/out", b"")], "absolute path"),
        ([("\\\\host\\out", b"")], "absolute path"),
        ([("C:\\out", b"")], "absolute path"),
        ([("C:out", b"")], "absolute path"),
        ([link("a"), ("a/out", b"")], "is a link"),
        ([("a", b"1"), ("A", b"2")], "comes twice"),
        ([("a", b"0" * (LIMIT + 1))], "unpacks to"),
    ],
)
def test_unsafe_archives_write_nothing(
    tmp_path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]], rule: str
) -> None:
    (tmp_path / "in").mkdir()
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("good", b"good")
        for member, data in members:
            writer.writestr(member, data)
    with pytest.raises(DataError, match=rule) as caught:
        unpack_zip(archive, tmp_path / "in" / "target", LIMIT)
    assert "evil.zip" in str(caught.value)
    assert list((tmp_path / "in").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.zip", "in"]


def test_damaged_archives_leave_nothing(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "in").mkdir()
    spoiled = bytearray(good)
    spoiled[200] ^= 255  # inside the first picture
    for data in (good[:-1], good[:500], b"", b"text", bytes(spoiled)):
        (tmp_path / "bad.zip").write_bytes(data)
        with pytest.raises(DataError, match=r"bad\.zip: not a whole zip"):
            unpack_zip(tmp_path / "bad.zip", tmp_path / "in" / "target", LIMIT)
        assert list((tmp_path / "in").iterdir()) == []


def test_existing_target_is_kept(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "good.zip").write_bytes(good)
    (tmp_path / "target").mkdir()
    with pytest.raises(FileExistsError, match="target"):
        unpack_zip(tmp_path / "good.zip", tmp_path / "target", LIMIT)
