import json

import pytest

from fissile.corrections import Trigger
from fissile.errors import ConfigError, RunError


def test_it_waits_for_explore_steps_and_for_enough_corrections():
    trigger = Trigger(interval=2)
    assert not trigger.fires(available=9, wanted=4)
    trigger.record(fission=False)
    assert not trigger.fires(available=9, wanted=4)
    trigger.record(fission=False)
    assert not trigger.fires(available=3, wanted=4)
    assert trigger.fires(available=4, wanted=4)
    trigger.record(fission=True)
    assert not trigger.fires(available=9, wanted=4)


def test_an_empty_buffer_never_fires():
    trigger = Trigger()
    trigger.record(fission=False)
    assert not trigger.fires(available=0, wanted=0)


def test_the_count_survives_a_checkpoint():
    trigger, resumed = Trigger(interval=3), Trigger(interval=3)
    for _ in range(2):
        trigger.record(fission=False)
    resumed.load_state_dict(json.loads(json.dumps(trigger.state_dict())))
    resumed.record(fission=False)
    assert resumed.fires(available=1, wanted=1)


def test_bad_interval_and_bad_state_are_refused():
    with pytest.raises(ConfigError, match="interval"):
        Trigger(interval=0)
    with pytest.raises(RunError, match="cannot be read"):
        Trigger().load_state_dict({})
