import pytest
import torch

from schemas.errors import ConfigError
from tasks.open_models.devices import choose_device


def test_choose_device_takes_what_is_there_and_never_falls_back_in_silence() -> None:
    assert choose_device("cpu", "heads").type == "cpu"
    has_cuda = torch.cuda.is_available()
    assert choose_device("auto", "heads").type == ("cuda" if has_cuda else "cpu")
    if not has_cuda:
        with pytest.raises(ConfigError, match=r"heads.device = 'cuda', but torch finds no CUDA device"):
            choose_device("cuda", "heads")
