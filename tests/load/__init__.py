"""A load generator for tests: users of a module over HTTP, and an exact count of what they got.

    with Load({"qa-1": "http://127.0.0.1:41233"}) as load:
        load.start(keep_alive=2, one_shot=2, late=1)       # so many users of each target
        load.wait_for(100)                                 # more answers from each target
    assert load.tally.failures == {}
    assert set(load.tally.versions) <= {"1.0.0", "1.1.0"}  # what was answered, by body

It knows nothing of HotSwap.
"""

from tests.load.load import Load
from tests.load.tally import Tally
from tests.load.users import UserKind

__all__ = ["Load", "Tally", "UserKind"]
