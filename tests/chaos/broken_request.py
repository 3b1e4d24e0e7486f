"""A request that is broken, then healed and audited: a cell of the fault matrix."""

from __future__ import annotations

from tests.chaos.cells import TIMES
from tests.chaos.proxy import Fault, FaultProxy
from tests.chaos.world import OLD, World, broken


def broken_request(s3_server: str, proxy: FaultProxy, cell: str) -> None:
    """A cell of the matrix."""
    _, kind, name, times = cell.split()
    # Impatient only where that is the point: on a machine under load a healthy request takes its time too.
    timeout = 2.0 if name == "timeout_after" else 30.0
    for _ in range(3):
        world = World(proxy, s3_server, admit=False, timeout=timeout)
        fault = Fault(kind, name, TIMES[times])
        error, found, _ = broken(world, fault)
        if fault.hits:
            break

    assert fault.hits > 0, "the fault hit nothing: the cell shows nothing"
    assert found.problems == []
    if times == "forever" and name in ("status_500", "status_503", "refused", "reset_before"):
        assert error is not None, "a request that never succeeds cannot end well"
        assert error.exit_code == (4 if kind == "input_get" else 5), "the side that failed is told"
    assert world.reader() == len(OLD) + 1
