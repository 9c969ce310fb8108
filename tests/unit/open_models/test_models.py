import pytest
import torch

from schemas.config import HeadsConfig
from schemas.errors import ConfigError
from tasks.open_models.models import device_of


def test_device_of_takes_what_is_there_and_never_falls_back_in_silence() -> None:
    assert device_of(HeadsConfig(device="cpu")).type == "cpu"
    has_cuda = torch.cuda.is_available()
    assert device_of(HeadsConfig(device="auto")).type == ("cuda" if has_cuda else "cpu")
    if not has_cuda:
        with pytest.raises(ConfigError, match=r"heads.device = 'cuda', but torch finds no CUDA device"):
            device_of(HeadsConfig(device="cuda"))
