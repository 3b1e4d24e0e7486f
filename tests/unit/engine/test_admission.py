"""Which task is next: in order, each until it is done, and no more at once than there is memory for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from job.engine.admission import Admission


def test_tasks_are_handed_out_in_order_and_a_failed_one_again_before_all_others() -> None:
    waiting = Admission(3)

    assert [waiting.take(), waiting.take()] == [(0, 0), (1, 0)]
    assert waiting.again(0) == 1
    assert [waiting.take(), waiting.take(), waiting.take()] == [(0, 1), (2, 0), None]
    for task in range(3):
        assert waiting
        waiting.done(task)
    assert not waiting


def test_a_task_that_does_not_fit_beside_those_under_way_lets_smaller_ones_pass() -> None:
    waiting = Admission(3, needs=(70, 60, 20), budget=100)

    assert [waiting.take(), waiting.take(), waiting.take()] == [(0, 0), (2, 0), None]
    waiting.done(0)
    assert waiting.take() == (1, 0)


def test_a_task_larger_than_all_the_memory_runs_alone() -> None:
    waiting = Admission(2, needs=(1000, 1), budget=100)

    assert [waiting.take(), waiting.take()] == [(0, 0), None]
    waiting.done(0)
    assert waiting.take() == (1, 0)


@given(
    needs=st.lists(st.integers(0, 100), max_size=12),
    budget=st.one_of(st.none(), st.integers(0, 150)),
    choices=st.lists(st.integers(0, 7)),
)
def test_every_task_is_done_once_and_the_budget_holds_but_for_one_that_runs_alone(
    needs: list[int], budget: int | None, choices: list[int]
) -> None:
    waiting = Admission(len(needs), needs=needs, budget=budget)
    running: list[int] = []
    done: list[int] = []
    moves = iter(choices)
    while waiting:
        chosen = waiting.take()
        if chosen is not None:
            running.append(chosen[0])
            used = sum(needs[task] for task in running)
            assert len(running) == 1 or budget is None or used <= budget
            continue
        task = running.pop(0)
        if next(moves, 0) == 7:
            waiting.again(task)
        else:
            waiting.done(task)
            done.append(task)

    assert sorted(done) == list(range(len(needs)))
