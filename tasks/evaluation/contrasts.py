"""Which systems are compared with which."""

import logging
from collections.abc import Sequence

from schemas.fields import DECODER_BASELINES, DECODER_STUDENT, SAMPLED

logger = logging.getLogger(__name__)

PHASE_PAIRS = (("mechanistic", "mechanistic-no-p1"), ("mechanistic", "mechanistic-no-p2"))
"""What each phase's supervision adds to the other's."""

CONTROL_PAIR = ("mechanistic", "mechanistic-random-anchors")
"""What it matters which words weigh more; the control is trained on request."""


def contrast_pairs(systems: Sequence[str], baseline: str) -> list[tuple[str, str]]:
    """(system, compared against): decoder students among themselves, the others as `_encoder_pairs` says.

    Those whose labels are ranked by drawn traces are compared with such baselines too.
    """
    decoders = [system for system in systems if system.startswith(DECODER_STUDENT)]
    others = [system for system in systems if system not in decoders]
    known = [baseline for baseline in DECODER_BASELINES if baseline in decoders]
    own = [(system, against) for against in known for system in decoders if system != against]
    drawn = [system for system in decoders if system.endswith(SAMPLED)]
    drawn_baselines = [baseline + SAMPLED for baseline in known if baseline + SAMPLED in drawn]
    own += [(system, against) for against in drawn_baselines for system in drawn if system != against]
    return [*(_encoder_pairs(others, baseline) if others else ()), *own]


def _encoder_pairs(systems: Sequence[str], baseline: str) -> list[tuple[str, str]]:
    """(system, compared against): every other system against the baseline, and the full method against each half.

    Where a system of a pair is absent, the pair is left out and the log says so.
    """
    wanted = [(system, baseline) for system in systems if system != baseline]
    wanted += [pair for pair in (*PHASE_PAIRS, CONTROL_PAIR) if pair not in wanted]
    if baseline not in systems:
        logger.warning(
            "contrasts: no predictions of the baseline %r; systems are %s; set evaluate.baseline", baseline, list(systems)
        )
    for absent in sorted({name for pair in PHASE_PAIRS for name in pair} - set(systems)):
        logger.info("contrasts: no predictions of %r, so its contrasts are left out", absent)
    return [pair for pair in wanted if set(pair) <= set(systems)]
