"""Waiting for a condition instead of for a time."""

import time

PATIENCE = 3  # times what a quiet machine needs


def wait_for(condition, timeout=10.0, what="the condition", every=0.05):
    """Returns the first value of condition() that is true; fails with `what` and the last value after `timeout` s, and
    some patience with a busy machine."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}; last seen: {value!r}")
        time.sleep(every)
