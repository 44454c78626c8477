"""What cannot be written is told once, and does not end a run."""

import errno
import os

import pytest

from armature.forgiving import Forgiving


def fail(writing, number):
    with writing:
        raise OSError(number, os.strerror(number))


def test_a_cause_is_told_when_it_begins_and_when_it_is_over(caplog):
    writing = Forgiving("the plot")
    for _ in range(3):
        fail(writing, errno.ENOSPC)
        assert writing.failing
    for _ in range(2):
        with writing:
            pass
        assert not writing.failing
    assert [record.message for record in caplog.records] == [
        "cannot write the plot, going on without: [Errno 28] No space left on device",
        "the plot can be written again",
    ]


def test_another_cause_is_told_too(caplog):
    writing = Forgiving("the plot")
    for number in (errno.ENOSPC, errno.EROFS, errno.EROFS):
        fail(writing, number)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BrokenPipeError])
def test_what_is_no_failing_disk_is_not_forgiven(error):
    with pytest.raises(error), Forgiving("the plot"):
        raise error
