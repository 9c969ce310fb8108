"""What is refused before anything is trained: settings that do not fit the teacher, the student or what was measured."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from schemas.errors import ConfigError, MissingTableError, ModelRefusedError
from schemas.student_settings import DecoderStudentsConfig
from tasks.decoder_students.machine import device_of
from tasks.decoder_students.matching import choose_teacher_heads
from tasks.decoder_students.methods import teaching_of
from tasks.open_models.families import DecoderParts
from tasks.open_models.models import DECODER, ModelRef
from tasks.sequences.answer_section import Reason

MOST_UNSEPARABLE_FRAC = 0.5
"""Of traces without a part for the final answers: of more, most documents would teach nothing."""


def imitates_heads(settings: DecoderStudentsConfig) -> bool:
    """True if some method imitates heads."""
    return any(teaching_of(method).imitates_heads for method in settings.methods)


def check_request(settings: DecoderStudentsConfig, model: ModelRef, scores: pl.DataFrame, dataset: str) -> None:
    """Refuse what cannot be trained, by settings and tables alone.

    Args:
        settings: of the stage.
        model: the teacher.
        scores: rows of `core_head_scores` of the teacher.
        dataset: its name, for messages.

    Raises:
        ConfigError: the settings do not fit the teacher, or a device is not there.
        MissingTableError: heads are to be imitated, but the teacher's were not scored.
    """
    device_of(settings)
    if settings.student is None and not model.is_compact:
        raise ConfigError(
            f"decoder_students.student is null, so a small student is built on the vocabulary of `{DECODER}`, but heads.model is "
            f"the folder {model.path!r}; name a folder to start from that has its tokenizer, or set heads.model to {DECODER}"
        )
    if imitates_heads(settings) and scores.is_empty():
        raise MissingTableError(
            f"core_head_scores of dataset {dataset!r} has no row of the model {model.name!r}, whose heads are to be imitated: "
            f"run `ctd heads {dataset}` with heads.model = {DECODER if model.is_compact else model.path} first"
        )


def check_answers(unseparable: Mapping[Reason, int], document_count: int, model: ModelRef) -> None:
    """Refuse the method `answers` where most traces do not give their final answers apart from the reasoning.

    Args:
        unseparable: traces that do not, by reason.
        document_count: all traces.
        model: the teacher.

    Raises:
        ConfigError: they are more than half.
    """
    count = sum(unseparable.values())
    if count <= MOST_UNSEPARABLE_FRAC * document_count:
        return
    why = ", ".join(f"{reason} ({some})" for reason, some in sorted(unseparable.items(), key=lambda one: -one[1]))
    raise ConfigError(
        f"method `answers` learns the final answers alone, and in {count} of {document_count} traces read for {model.name!r} "
        f"they are no part of their own: {why}; at most half may be so. Ask the teacher for an answer section "
        "(teacher.answer_form json, json_schema or tagged), or take `answers` out of decoder_students.methods"
    )


def check_heads(settings: DecoderStudentsConfig, scores: pl.DataFrame, parts: DecoderParts) -> None:
    """Refuse to imitate more heads than there are, or heads of another model of the teacher's name.

    Raises:
        ConfigError: there are fewer heads, or other ones than were scored.
        TrainingError: no head has the score that chooses it.
    """
    if not imitates_heads(settings):
        return
    known = (int(scores["layer"].max()) + 1, int(scores["head"].max()) + 1)  # type: ignore[arg-type]
    if known != (parts.layer_count, parts.head_count):
        raise ConfigError(
            f"core_head_scores speaks of {known[0]} layers of {known[1]} heads, but the teacher has {parts.layer_count} of "
            f"{parts.head_count}: they were measured on another model of this name; run `ctd heads` again"
        )
    choose_teacher_heads(scores, settings.phase1_heads, settings.phase2_heads)


def check_tokenizers(student: Path, teacher: Path, settings: DecoderStudentsConfig) -> None:
    """Refuse a student's folder whose tokens are not the teacher's, or that has too few heads.

    Args:
        student: folder that students start from.
        teacher: the teacher's folder.
        settings: heads that are asked for.

    Raises:
        ConfigError: a folder cannot be read, or the student has fewer heads than are to be imitated.
        ModelRefusedError: the tokenizers differ, or the student has fewer rows than tokens.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        own, aimed = (AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (student, teacher))
        config = AutoConfig.from_pretrained(student, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as exc:
        raise ConfigError(f"decoder_students.student = {str(student)!r} cannot be loaded as a causal decoder: {exc}") from exc
    if own.get_vocab() != aimed.get_vocab():
        shared = len(own.get_vocab().items() & aimed.get_vocab().items())
        raise ModelRefusedError(
            f"decoder_students.student = {str(student)!r} has a tokenizer of {len(own)} tokens, the teacher one of {len(aimed)}, "
            f"and {shared} are alike: the rows of traces, and what the teacher's heads do there, are those of its own tokens; "
            "start from a model of the teacher's tokenizer"
        )
    if config.vocab_size < len(own):
        raise ModelRefusedError(
            f"decoder_students.student = {str(student)!r}: its tokenizer has {len(own)} tokens, the model {config.vocab_size}"
        )
    heads = config.num_hidden_layers * config.num_attention_heads
    if imitates_heads(settings) and settings.phase1_heads + settings.phase2_heads > heads:
        raise ConfigError(
            f"phase1_heads + phase2_heads = {settings.phase1_heads + settings.phase2_heads}, but {str(student)!r} has {heads} "
            "heads, and each imitates at most one; lower decoder_students.phase1_heads or phase2_heads"
        )
