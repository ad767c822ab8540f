from agent_exporter.sample.accounts import Accounts, Spent


def charged(*looks):
    """Charge one look after the other; tell what the owner `agent` had used after each."""
    accounts, totals = Accounts(), []
    for look in looks:
        accounts.charge(look)
        found = accounts.of("agent")
        totals.append((found.cpu, found.read, found.written))
    return totals


def process(own=0.0, children=0.0, read=0.0, written=0.0, parent=None, owner="agent"):
    """Say what a process used."""
    return Spent(owner, parent, own, children, read, written)


def test_the_first_look_counts_in_full():
    """What a process used before it was seen is the agent's too."""
    assert charged({"a": process(3, 2, 10, 20)}) == [(5, 10, 20)]


def test_a_child_that_was_waited_for_counts_once():
    """What the parent takes over from a child that was seen is in the account already."""
    assert charged(
        {"a": process(1), "b": process(5, 0, 10, 20, parent="a")},
        {"a": process(1, 5, 10, 20)},
    ) == [(6, 10, 20), (6, 10, 20)]


def test_the_last_moments_of_a_child_count():
    """What a child used between the last look and its end comes with its parent."""
    assert charged({"a": process(1), "b": process(5, parent="a")}, {"a": process(1, 7)}) == [(6, 0, 0), (8, 0, 0)]


def test_a_child_nobody_waited_for_stays():
    """A total does not fall when a child is gone without a trace."""
    assert charged({"a": process(1), "b": process(5, parent="a")}, {"a": process(2)}) == [(6, 0, 0), (7, 0, 0)]


def test_a_branch_that_ends_together_counts_once():
    """A child and a grandchild that ended between two looks are taken over together."""
    assert charged(
        {"a": process(1), "b": process(2, parent="a"), "c": process(4, parent="b")},
        {"a": process(1, 6.5)},
    ) == [(7, 0, 0), (7.5, 0, 0)]


def test_a_child_of_another_owner_is_not_taken_over():
    """An agent that ended below another one stays its own; the other gets only what was never seen."""
    assert charged(
        {"a": process(1), "b": process(5, parent="a", owner="other")},
        {"a": process(1, 5)},
    ) == [(1, 0, 0), (1, 0, 0)]


def test_a_process_that_begins_anew():
    """Another process of the same owner adds to what the one before had used."""
    assert charged({"a": process(5)}, {}, {"b": process(1)}) == [(5, 0, 0), (5, 0, 0), (6, 0, 0)]


def test_numbers_that_fall_add_nothing():
    """A counter of the system that falls is not believed."""
    assert charged({"a": process(5)}, {"a": process(4)}, {"a": process(5)})[1] == (5, 0, 0)
