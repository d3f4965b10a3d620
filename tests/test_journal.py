import json
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.errors import RunError
from fissile.journal import JsonLines

RECORDS = st.lists(
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=8) | st.none(), max_size=3).map(
        lambda fields: {key: value for key, value in fields.items() if key != "step"}
    ),
    min_size=1,
    max_size=6,
)


def test_records_come_back_in_order_from_disk_as_they_are_written(tmp_path):
    with JsonLines(tmp_path / "run" / "metrics.jsonl") as journal:
        for step in range(3):
            journal.append({"step": step, "loss": 0.5, "text": "one\ntwo \u2028 \ud800"})
            assert len(journal.path.read_text().splitlines()) == step + 1  # before it is closed
        assert [record["step"] for record in journal.records()] == [0, 1, 2]
        assert next(journal.records())["text"] == "one\ntwo \u2028 \ud800"


def test_appending_goes_on_after_reopening(tmp_path):
    for step in range(3):
        with JsonLines(tmp_path / "metrics.jsonl") as journal:
            journal.append({"step": step})
    assert [json.loads(line)["step"] for line in journal.path.read_text().splitlines()] == [0, 1, 2]


@given(records=RECORDS, fraction=st.floats(0, 1))
def test_a_killed_process_costs_at_most_the_last_line(tmp_path_factory, records, fraction):
    path = tmp_path_factory.mktemp("journal") / "corrections.jsonl"
    with JsonLines(path) as journal:
        for record in records:
            journal.append(record)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    complete = path.read_bytes().count(b"\n")
    with JsonLines(path) as journal:
        assert list(journal.records()) == records[:complete]
        journal.append({"after": True})
        assert list(journal.records()) == [*records[:complete], {"after": True}]


@pytest.mark.parametrize("torn", [b'{"step": 3, "lo', b"\0\0\0\0", b"\0\0\0\n", b'"text"\n'])
def test_a_torn_last_line_is_removed_on_reopening(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n{"step":2}\n' + torn)
    with JsonLines(path) as journal:
        assert [record["step"] for record in journal.records()] == [1, 2]


def test_truncation_drops_later_steps_and_appending_goes_on(tmp_path):
    with JsonLines(tmp_path / "metrics.jsonl") as journal:
        for step in (1, 2, 3, 4, 3):
            journal.append({"step": step})
        journal.append({"note": "no step"})
        assert journal.truncate_after(2) == 3
        journal.append({"step": 3, "again": True})
        assert list(journal.records()) == [{"step": 1}, {"step": 2}, {"note": "no step"}, {"step": 3, "again": True}]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_truncation_with_nothing_to_drop_leaves_the_file_alone(tmp_path):
    with JsonLines(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1})
        before = journal.path.stat().st_ino
        assert journal.truncate_after(1) == 0
        assert journal.path.stat().st_ino == before


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":1}\nbroken\n{"step":3}\n')
    with JsonLines(path) as journal, pytest.raises(RunError, match=r"metrics\.jsonl:2 is not a JSON object"):
        list(journal.records())


def test_a_folder_in_place_of_the_file_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match="cannot be opened"):
        JsonLines(tmp_path)


def test_a_full_disk_is_a_run_error_and_leaves_complete_lines_only(tmp_path):
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX thing")
    with JsonLines(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        try:
            with pytest.raises(RunError, match="Free disk space"):
                journal.append({"step": 2, "text": "x" * 20_000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)
        assert list(journal.records()) == [{"step": 1}]
        journal.append({"step": 3})
        assert list(journal.records()) == [{"step": 1}, {"step": 3}]
