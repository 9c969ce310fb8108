"""What students are trained on: the device, and the most memory that was taken."""

import resource
import sys

import torch

from schemas.student_settings import DecoderStudentsConfig
from tasks.open_models.devices import choose_device


def device_of(settings: DecoderStudentsConfig) -> torch.device:
    """The device that is trained on.

    Raises:
        ConfigError: the settings ask for one that is not there.
    """
    return choose_device(settings.device, "decoder_students")


def prepare_accelerate(settings: DecoderStudentsConfig) -> None:
    """Set accelerate's state of this process, which all trainings share, to these settings, whatever it was before.

    Done once before students are trained side by side: the first to come would set it, and two at once could both be first.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    Accelerator(cpu=device_of(settings).type == "cpu", mixed_precision=settings.precision)


def peak_memory(device: torch.device) -> int:
    """Most bytes so far: of tensors on a CUDA device, else of the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, else kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
