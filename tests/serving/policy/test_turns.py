from hypothesis import given
from hypothesis import strategies as st

from serving.policy.batching import Limits, Run, Snapshot, Waiting, decide
from serving.policy.cost import RunCost
from serving.policy.turns import Turns


def waiting(names: str, *, weights: dict[str, float] | None = None, rows: int = 1) -> list[Waiting]:
    """One request a letter, which is its tenant; the order is that of arrival."""
    return [
        Waiting(seq=seq, rows=rows, deadline=9.0, arrived=0.0, tenant=name, weight=(weights or {}).get(name, 1.0))
        for seq, name in enumerate(names)
    ]


def tenants(entries: "list[Waiting] | tuple[Waiting, ...]") -> str:
    return "".join(entry.tenant for entry in entries)


def served(turns: Turns, names: str, most_rows: int) -> list[str]:
    """The runs of so many rows until nothing waits."""
    left, runs = waiting(names), []
    while left:
        batch = list(turns.order(left))[:most_rows]
        turns.ran(batch)
        left = [entry for entry in left if entry not in batch]
        runs.append(tenants(batch))
    return runs


def test_tenants_take_turns() -> None:
    """A late request of another tenant is second, and both share alike until one has no more."""
    assert served(Turns(4), "aaaaaabb", 4) == ["abab", "aaaa"]


def test_one_tenant_keeps_its_order() -> None:
    """With one tenant nothing is done at all."""
    entries = waiting("aaa")
    assert Turns(4).order(entries) is entries


def test_turns_go_on_from_run_to_run() -> None:
    """Runs of one row alternate, though each is decided anew."""
    assert served(Turns(1), "aaaabbb", 1) == list("abababa")


def test_weights() -> None:
    """Three rows for one where the weights are three and one."""
    turns = Turns(4)
    assert tenants(list(turns.order(waiting("aaaaaabbbbbb", weights={"a": 3.0})))[:8]).count("a") == 6


def test_rows_count_and_not_requests() -> None:
    """A request of four rows pays for four."""
    turns = Turns(4)
    large, small = waiting("a", rows=4) + waiting("a", rows=4), waiting("bbbbbb")
    assert tenants(turns.order([*large, *small])) == "abbbbabb"


def test_who_had_less_may_come_in_a_bunch() -> None:
    """A tenant with a row in each of some runs is first with four at once; one that has just come is not."""
    turns = Turns(4)
    for _ in range(4):
        turns.ran(waiting("aaab"))
    assert tenants(list(turns.order(waiting("aaaabbbb")))[:5]) == "bbbbb"[:4] + "a"
    assert tenants(list(turns.order(waiting("aaaacccc")))[:4]) in ("acac", "caca")


def test_nothing_is_saved_beyond_a_bunch() -> None:
    """After a long absence it is at most four rows ahead of its share."""
    turns = Turns(4)
    turns.ran(waiting("ab"))
    for _ in range(3):
        turns.ran(waiting("aaaa"))
    order = tenants(turns.order(waiting("aaaaaaaabbbbbbbb")))
    assert order.startswith("bbbb")
    assert order[6:12].count("a") == 3


def test_who_has_not_come_for_long_is_forgotten() -> None:
    """Memory is bounded by the tenants of late, and a run counts as shared only for as long."""
    turns = Turns(2)
    turns.ran(waiting("abcdefgh"))
    assert turns.several(())
    for _ in range(20):
        turns.ran(waiting("aa"))
    assert not turns.several(waiting("a"))
    assert turns.several(waiting("ab"))


def test_a_shared_run_is_no_larger_than_makes_rows_cheap() -> None:
    """Of eight allowed rows seven cost a twentieth more at most; a tenant alone fills its runs."""
    cost = RunCost()
    for rows in (1, 8) * 20:
        cost.observe(rows, 0.004 + 0.001 * rows)
    runs = []
    for names in ("a" * 12, "a" * 11 + "b"):
        action = decide(Snapshot(waiting(names), cost=cost, turns=Turns(8)), Limits(8), 0.0)
        assert isinstance(action, Run)
        runs.append(len(action.batch))
    assert runs == [8, 7]


@given(st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 6))
def test_everything_is_in_the_order_once_and_nobody_starves(comings: list[str], most_rows: int) -> None:
    """Asked twice it answers the same; while two tenants wait, neither is ahead by more than a bunch and a run."""
    turns, left = Turns(most_rows), []
    ahead: dict[tuple[str, str], int] = {}
    for names in comings:
        left += waiting(names)
        order = list(turns.order(left))
        assert order == list(turns.order(left))
        assert sorted(map(id, order)) == sorted(map(id, left))
        present = {entry.tenant for entry in left}
        batch = order[:most_rows]
        turns.ran(batch)
        left = [entry for entry in left if not any(entry is one for one in batch)]
        for one in "abc":
            for other in "abc":
                both = {one, other} <= present
                step = tenants(batch).count(one) - tenants(batch).count(other)
                ahead[one, other] = max(0, ahead.get((one, other), 0) + step) if both else 0
    assert max(ahead.values()) <= 2 * most_rows + 1
