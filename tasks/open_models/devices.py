"""The device that a settings section names."""

import torch

from schemas.errors import ConfigError


def choose_device(wanted: str, section: str) -> torch.device:
    """The device of the setting `device` of a section: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: the settings ask for one that is not there.
    """
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise ConfigError(f"{section}.device = 'cuda', but torch finds no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if has_cuda and wanted != "cpu" else "cpu")
