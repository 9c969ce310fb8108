import torch

from tasks.labels.threads import one_thread_each


def test_one_thread_each_gives_torch_one_thread_in_each_and_puts_the_count_back() -> None:
    count = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread_each() as pool:
            assert list(pool.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(count)


def test_one_after_the_other_a_thread_has_all_of_torchs() -> None:
    count = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread_each(is_side_by_side=False) as pool:
            assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [3, 3]
    finally:
        torch.set_num_threads(count)
