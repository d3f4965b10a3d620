"""The order of the runs of a laboratory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.errors import ConfigError
from fissile.lab import LabSpec, RunKey, make_plan
from fissile.lab.plan import LabSchedule, PlannedRun


def spec(**arms: dict[str, object]) -> LabSpec:
    return LabSpec.model_validate({"seeds": 2, "arms": arms})


def keys(plan: list[PlannedRun]) -> list[str]:
    return [str(run.key) for run in plan]


def test_seeds_are_outermost_and_matched_arms_come_first() -> None:
    lab = spec(more={"match": "fission"}, grpo={"seeds": 3}, fission={})
    assert keys(make_plan(lab)) == [
        "grpo seed 0",
        "fission seed 0",
        "more seed 0",
        "grpo seed 1",
        "fission seed 1",
        "more seed 1",
        "grpo seed 2",
    ]
    assert make_plan(lab)[2].match == RunKey("fission", 0)


def test_only_takes_what_it_needs_with_it() -> None:
    lab = spec(grpo={}, fission={}, more={"match": "fission", "seeds": 1})
    assert keys(make_plan(lab, ["more"])) == ["fission seed 0", "more seed 0", "fission seed 1"]
    assert keys(make_plan(lab, ["grpo"])) == ["grpo seed 0", "grpo seed 1"]
    with pytest.raises(ConfigError, match="--only dapo: there is no such arm; known: grpo, fission, more"):
        make_plan(lab, ["dapo"])


def test_seeds_can_be_asked_one_by_one() -> None:
    lab = spec(grpo={}, fission={"seeds": 3}, more={"match": "fission", "seeds": 1})
    assert keys(make_plan(lab, seeds=[1, 0, 1])) == keys(make_plan(lab))[:5]
    assert keys(make_plan(lab, seeds=[1])) == ["grpo seed 1", "fission seed 1"]
    assert keys(make_plan(lab, ["grpo"], [1])) == ["grpo seed 1"]
    with pytest.raises(ConfigError, match="--seed 2: there is no such seed; there are 2, counted from 0"):
        make_plan(lab, ["grpo"], [2])


@st.composite
def laboratories(draw: st.DrawFn) -> LabSpec:
    names = "abcde"[: draw(st.integers(1, 5))]
    arms: dict[str, dict[str, object]] = {}
    for index, name in enumerate(names):
        match = draw(st.sampled_from([None, *names[:index]]))
        most = int(str(arms[match]["seeds"])) if match else 3
        arms[name] = {"match": match, "seeds": draw(st.integers(1, most))}
    order = draw(st.permutations(list(arms)))
    return LabSpec.model_validate({"arms": {name: arms[name] for name in order}})


@given(laboratories(), st.randoms(use_true_random=False), st.integers(1, 3), st.floats(0, 1), st.floats(0, 1))
def test_every_run_ends_once_and_none_before_the_one_that_it_matches(lab, draw, workers, bad, before) -> None:
    plan = make_plan(lab)
    matches = {run.key: run.match for run in plan}
    done = {run.key for run in plan if draw.random() < before}
    schedule = LabSchedule.of(plan, done)
    busy: list[PlannedRun] = []
    ended: list[RunKey] = []
    while True:
        while len(busy) < workers and (run := schedule.take()) is not None:
            assert run.match is None or run.match in schedule.finished
            busy.append(run)
        if not busy:
            break
        key = busy.pop(draw.randrange(len(busy))).key
        if draw.random() < bad:
            failed = list(schedule.fail(key, "broken"))
            assert failed[0] == (key, "broken")
            assert all("failed: " in reason for _, reason in failed[1:])
            ended += [one for one, _ in failed]
        else:
            schedule.finish(key)
            ended.append(key)
    assert not schedule.waiting
    assert len(ended) == len(set(ended))
    assert set(ended) | done == set(matches)
    assert not schedule.finished & set(schedule.failed)
    assert all(match not in schedule.failed for key, match in matches.items() if key in schedule.finished - done)
