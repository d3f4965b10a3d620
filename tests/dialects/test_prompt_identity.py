"""Recorded figures rest on these prompts: what the embedded model reads of BFCL and of the procedural world."""

import hashlib
import json

import pytest

from fissile.dialects import ChatFormat, get_dialect
from fissile.tasks import CATEGORIES, load_bfcl, load_bfcl_multi_turn
from fissile.tasks.procedural import procedural_split
from fissile.tasks.procedural.dials import ProceduralSettings
from fissile.training.policy_model import load_tokenizer

PINNED = {
    "hermes": ("0ed0b0f6479a27b3", "f6bb5b085df1b95e", "4503ddff7a6eb82d"),
    "python": ("fdd108f3c8ff1356", "3ca8e6b3191cb4c9", "960c65e13a0b3f7d"),
    "llama3_json": ("5585c3d6a703d88b", "27894773665894b9", "34b95960f339b299"),
    "mistral": ("890d569df79bdba2", "921b0097cd163193", "9fdecb1638d13736"),
}
"""Dialect to digests of some prompts and replies: BFCL's single turns, its multi-turn scenarios, procedural tasks."""


def digest(chat, tasks):
    found = hashlib.sha256()
    for task in tasks:
        found.update(json.dumps(list(chat.prompt_ids(task.messages, task.tools))).encode())
        for turn in task.later[:2]:
            if turn.messages:
                found.update(json.dumps(list(chat.reply_ids(["a", "b"], turn.messages, ended=True))).encode())
    return found.hexdigest()[:16]


@pytest.fixture(scope="module")
def sets(bfcl):
    procedural = [task for side in procedural_split(ProceduralSettings(train_tasks=8, test_tasks=4)) for task in side]
    scenarios = load_bfcl_multi_turn(["multi_turn_base", "multi_turn_miss_func"]).tasks
    return load_bfcl(CATEGORIES).tasks[::40], scenarios[::60], procedural


@pytest.mark.parametrize("name", ["hermes", "python", "llama3_json", "mistral"])
def test_recorded_prompts_stay_as_they_were(name, sets):
    chat = ChatFormat(load_tokenizer("smollm2-135m"), get_dialect(name))
    assert tuple(digest(chat, tasks) for tasks in sets) == PINNED[name]
