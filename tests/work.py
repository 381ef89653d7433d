"""How much a call does, counted in calls of functions: the same on every machine, busy or idle, where seconds are not."""

import sys


def counted(function, *args, **kwargs):
    """Calls of functions, Python's and C's, until ``function(*args, **kwargs)`` has returned, and what it returned.

    >>> counted(sorted, [3, 1])[1]
    [1, 3]
    """
    count = 0

    def seen(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        result = function(*args, **kwargs)
    finally:
        sys.setprofile(before)
    return count, result
