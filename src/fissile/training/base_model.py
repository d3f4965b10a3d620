"""Which model an adapter was trained on, in a name that means something on another machine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, try_to_load_from_cache

from fissile import assets
from fissile.training.start_folder import StartFolder

HUB_ID = re.compile(r"\w[\w.-]*/(?!checkpoint-)\w[\w.-]*")
"""What can be the id of a model on the Hugging Face hub, and is no checkpoint of a trainer."""

SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/[^/]+/?$")
"""End of a path into the hub's cache, which tells the id."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model.

    Attributes:
        id: its id on the Hugging Face hub; where `is_known` is false only the name of a folder.
        is_known: whether others can load it by that id, as far as can be told without a network.
        licence: SPDX identifier in lower case; "" where it cannot be told.
        note: one sentence about its weights, or about where the name comes from; may be "".
    """

    id: str
    is_known: bool = True
    licence: str = ""
    note: str = ""


def base_model(path: str, embedded: str) -> BaseModel:
    """The base model that `model.path` names.

    Args:
        path: as in a recipe.
        embedded: the name of the embedded model.
    """
    if path == embedded:
        note = "Its weights were those of a 4-bit file (GGUF, Q4_1), unpacked."
        return BaseModel(assets.MODEL_ID, licence=assets.MODEL.licence.lower(), note=note)
    local = Path(path).expanduser()
    if not local.exists():
        return BaseModel(path, licence=_licence(_cached_card(path)))
    if snapshot := SNAPSHOT.search(local.absolute().as_posix()):
        return BaseModel(f"{snapshot['owner']}/{snapshot['name']}", licence=_licence(local / "README.md"))
    if local.is_file():
        return BaseModel(local.stem, False, "", "The name is that of a file: say which model it was made from.")
    licence = _licence(local / "README.md")
    if (said := _said_by_config(local)) is not None:
        return BaseModel(said, licence=licence, note="The id is what the model's own configuration says.")
    if StartFolder(local).is_finished:
        note = "It is the small policy that a laboratory of Fissile made from nothing, and on no hub."
    else:
        note = "The name is that of a folder: no configuration in it says which model of the hub it is."
    return BaseModel(local.absolute().name, False, licence, note)


def _said_by_config(folder: Path) -> str | None:
    """What `config.json` calls itself, where that can be an id of the hub and is no path of a machine."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    is_id = isinstance(said, str) and HUB_ID.fullmatch(said) is not None and not Path(said).exists()
    return said if is_id else None


def _cached_card(hub_id: str) -> Path | None:
    """The model's own card, where the hub's cache holds it; nothing is fetched."""
    try:
        found = try_to_load_from_cache(hub_id, "README.md")
    except ValueError:  # no id
        return None
    return Path(found) if isinstance(found, str) else None


def _licence(card: Path | None) -> str:
    """The licence that a model card names; "" without one."""
    if card is None or not card.is_file():
        return ""
    try:
        named = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict().get("license")
    except Exception:  # foreign YAML
        return ""
    return named if isinstance(named, str) else ""
