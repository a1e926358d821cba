"""Whatever dies when, every row is done once, and the guilty pictures alone are named."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from seewhy.runs.schedule import DEATHS_OF_PICTURE, DEATHS_OF_SHARD, Schedule, Task


def play(count, size, deadly, *, seed=0, workers=3, batch=4, accidents=0.0, says_where=True):
    """Workers that die of deadly rows, and by accident; what came of it.

    Returns:
        the rows that were done, in the order in which they were; those named; the shards that were
        joined of pieces; how many rows were worked on.
    """
    chance = random.Random(seed)
    tasks = [
        Task(shard, start, min(start + size, count))
        for shard, start in enumerate(range(0, count, size))
    ]
    schedule = Schedule(tasks)
    done, named, joined, parts, worked = [], [], [], [], 0
    under_way = []
    while True:
        while len(under_way) < workers and (task := schedule.next()) is not None:
            under_way.append(task)
        if not under_way:
            assert schedule.finished
            return done, named, joined, worked
        task = under_way.pop(chance.randrange(len(under_way)))
        rows = range(task.start, task.stop)
        first = next((row for row in rows if row in deadly), None)
        if first is None and chance.random() < accidents and len(rows) > 1:
            first = chance.choice(rows)
        if first is not None:
            begin = task.start + (first - task.start) // batch * batch
            worked += begin - task.start
            at = (begin, min(begin + batch, task.stop)) if says_where else None
            found = schedule.died(task, at, "a signal")
            if found is not None:
                named.append(found.task.start)
                done += range(found.task.start, found.task.stop)
                shard = schedule.done(found.task)
                if shard is not None:
                    joined.append(shard)
            continue
        worked += len(rows)
        done += rows
        shard = schedule.done(task)
        if shard is not None:
            joined.append(shard)
        if task.whole:
            parts.append(task.shard)
        assert not set(parts) & set(joined)


@given(
    st.integers(1, 80), st.integers(1, 40), st.sets(st.integers(0, 79), max_size=6),
    st.integers(0, 1000), st.booleans(),
)  # fmt: skip
def test_every_row_is_done_once_and_the_deadly_are_named(count, size, deadly, seed, says_where):
    deadly = {row for row in deadly if row < count}
    done, named, _, _ = play(count, size, deadly, seed=seed, says_where=says_where)
    assert sorted(done) == list(range(count))
    assert sorted(named) == sorted(deadly)


@given(st.integers(0, 1000))
def test_accidents_name_nobody_and_lose_nothing(seed):
    done, named, _, _ = play(60, 15, {22}, seed=seed, accidents=0.3)
    assert sorted(done) == list(range(60))
    assert named == [22]


def test_a_shard_is_divided_after_its_third_death_and_not_before() -> None:
    schedule = Schedule([Task(0, 0, 100)])
    for _ in range(DEATHS_OF_SHARD):
        task = schedule.next()
        assert task is not None
        assert task.whole
        assert schedule.died(task, (40, 48), "a signal") is None
    pieces = []
    while (task := schedule.next()) is not None:
        pieces.append((task.start, task.stop))
    assert pieces == [(0, 40), (40, 44), (44, 48), (48, 100)]


def test_a_picture_alone_is_tried_twice() -> None:
    schedule = Schedule([Task(0, 5, 6)])
    deaths = 0
    while (task := schedule.next()) is not None:
        deaths += 1
        found = schedule.died(task, (5, 6), "a signal")
        if found is not None:
            assert schedule.done(found.task) == 0
    assert deaths >= DEATHS_OF_PICTURE
    assert schedule.finished


def test_one_deadly_picture_costs_less_than_two_shards_beside_the_three_deaths() -> None:
    *_, worked = play(4096, 4096, {3000}, batch=8)
    assert worked < DEATHS_OF_SHARD * 3000 + 2 * 4096
