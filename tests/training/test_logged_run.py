"""Loggers hear a whole run: every step and every evaluation, with its step."""

import struct
from collections import defaultdict
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from fissile.config import load_config
from fissile.training.progress import Progress
from fissile.training.run import Run
from fissile.training.run_folder import RunFolder
from tiny_world import make_world


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would draw: name to (step, value), from the files of one folder."""
    found = defaultdict(list)
    for file in sorted(folder.glob("events.out.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag].append((event.step, value.simple_value))
    return dict(found)


def test_every_step_and_every_evaluation_reach_the_logger(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    chosen = ["training.report_to=tensorboard", "evaluation.every=1", "cold_start.examples=4"]
    config = load_config(make_world(tmp_path, steps=2), chosen)
    folder = RunFolder(Path(config.output))
    with folder.entered(config, resume=False):
        summary = Run(config, folder, Progress()).execute()
    drawn = scalars(folder.path / "tensorboard")
    assert [step for step, _ in drawn["train/loss"]] == [1, 2]
    for stage, steps in {"base": [0], "cold_start": [0], "steps": [1, 2], "fission": [2]}.items():
        assert [step for step, _ in drawn[f"eval/{stage}/final_accuracy"]] == steps
    shown = drawn["eval/fission/final_accuracy_high"][0][1]
    assert abs(shown - summary["stages"]["fission"]["final_accuracy"]["high"]) < 1e-6
    assert not list(Path.cwd().iterdir()), "nothing lies in the folder that the command was given in"
