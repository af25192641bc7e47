import signal

import pytest

from curate.interrupt import CtrlC


@pytest.fixture
def ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    watch = CtrlC()
    yield watch
    watch.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_what_somebody_swallowed_is_raised_at_the_next_check(ctrl_c: CtrlC):
    ctrl_c.check()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ctrl_c.check()


def test_what_comes_while_a_process_starts_is_raised_afterwards(ctrl_c: CtrlC):
    steps = []

    def start() -> None:
        with ctrl_c.held():
            signal.raise_signal(signal.SIGINT)
            steps.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["started"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
