import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.changes import find_changes, short_hashes
from tasks.labels.embedder import hash_text

TEXTS = st.lists(st.sampled_from(["vim", "nano", "ed", "emacs", "joe"]), max_size=12)


@given(TEXTS, TEXTS)
def test_find_changes_keeps_as_many_of_each_text_as_both_sets_have(old: list[str], new: list[str]) -> None:
    changes = find_changes(short_hashes([hash_text(t) for t in old]), short_hashes([hash_text(t) for t in new]))
    kept = [(was, now) for was, now in enumerate(changes.new_rows.tolist()) if now >= 0]
    assert all(old[was] == new[now] for was, now in kept)
    assert len({now for _, now in kept}) == len(kept) == sum(min(old.count(t), new.count(t)) for t in set(old))
    assert {now for _, now in kept} == set(np.flatnonzero(~changes.is_added).tolist())


def test_changed_frac_counts_what_left_and_what_came() -> None:
    old, new = ([hash_text(t) for t in texts] for texts in (["a", "b", "c", "d"], ["d", "a", "e"]))
    changes = find_changes(short_hashes(old), short_hashes(new))
    assert changes.new_rows.tolist() == [1, -1, -1, 0]
    assert changes.is_added.tolist() == [False, False, True]
    assert changes.changed_frac == 3 / 4
