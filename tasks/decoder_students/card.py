"""The model card of a decoder student: what it is, what taught it what, how well it does, and what it is not."""

from schemas.decoders import DecoderStudentDescription
from schemas.student_settings import DecoderStudentsConfig
from tasks.decoder_students.methods import teaching_of
from tasks.sequences.compact import ANSWER, SHORTLIST

CARD = """# {name}: a student of `{teacher}` on {dataset}

A decoder that writes {written}. Method `{method}`:
{taught}.

| | |
| --- | --- |
| run | `{run_id}` |
| teacher | `{teacher}`, content `{teacher_hash:.12}` |
| start | {start} |
| numbers | {parameter_count:,}, {body_parameter_count:,} of them outside the table of tokens; {trained_count:,} trained |
| training documents | {document_count:,} ({left_out_count:,} more had no usable trace, or were not needed) |
| of these without a token to learn | {empty_count:,} |
| development documents | {dev_count:,}, part of train, never trained on; `student.json` names them |
| steps | {step_count} of {at_most}, {batch_size} documents each; peak learning rate {learning_rate:g}; seed {seed} |
| training | {train_cpu_s:.0f} CPU seconds, {tokens_per_cpu_s:,.0f} tokens a second, at most {peak_mb:,.0f} MB in the process |

## On development documents
Loss in nats a token: {losses}.

## Heads
{heads}

## Use
`AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` load this folder. {prompt}

## Limits
It imitates the traces it was trained on, with their mistakes; that a head of its own does what a head of its teacher does is what
was trained for, not what was found. The licence is that of the data and of the model it starts from; this project does not know
it.
"""

COMPACT = (
    "A prompt is `<document>` and the first {words} words of the document, folded; it goes on with `{mark}`. "
    "`<unk>` stands for what the vocabulary does not hold."
)
CHAT = (
    "A prompt is the text of `teacher.prompt_text` in `student.json` with the document in it, in the tokenizer's chat template."
)

WRITTEN = "the trace of a document: candidates first, then their refinement, then the labels"
UNREASONED = "the labels of a document and no trace, so `ctd trace`, which asks for one, does not take it for a teacher"


def write_card(description: DecoderStudentDescription, name: str, empty_count: int) -> str:
    """The model card as Markdown.

    Args:
        description: of the student.
        name: of its folder.
        empty_count: training documents of which it learns nothing.
    """
    settings, teacher = description.settings, description.teacher
    losses = ", ".join(f"{what.removesuffix('_loss')} {nats:.3f}" for what, nats in sorted(description.dev_losses.items()))
    return CARD.format(
        **description.model_dump(include=set(DecoderStudentDescription.model_fields) - {"settings", "teacher"}),
        name=name,
        empty_count=empty_count,
        teacher=teacher.name,
        teacher_hash=teacher.content_hash,
        written=WRITTEN if teaching_of(description.method).has_trace else UNREASONED,
        taught=describe_teaching(description),
        start="weights drawn by the seed" if settings.student is None else f"the folder `{settings.student}`",
        at_most=describe_budget(settings),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        dev_count=len(description.dev_document_ids),
        peak_mb=description.peak_memory_bytes / 1e6,
        losses=losses or "not measured",
        heads=describe_heads(description),
        prompt=describe_prompt(description),
    )


def describe_budget(settings: DecoderStudentsConfig) -> str:
    """How many steps there may be, and why."""
    most = f"at most {settings.train_steps}"
    return most if settings.max_cpu_s is None else f"{most} that fit {settings.max_cpu_s:g} CPU seconds"


def describe_teaching(description: DecoderStudentDescription) -> str:
    """The terms of the student's loss, with their weights."""
    teaching = teaching_of(description.method)
    said = "the tokens of the whole trace" if teaching.has_trace else "the tokens of the final answers alone"
    weights = teaching.weights(description.settings)
    return ", ".join([said, *(f"`{term}` (weight {weight:g})" for term, weight in weights.items())])


def describe_prompt(description: DecoderStudentDescription) -> str:
    """What stands before what the student writes."""
    if not description.teacher.is_compact:
        return CHAT
    mark = SHORTLIST if teaching_of(description.method).has_trace else ANSWER
    return COMPACT.format(words=description.teacher.document_words, mark=mark)


def describe_heads(description: DecoderStudentDescription) -> str:
    """Which head imitates which, a line a pair."""
    if not description.matched_heads:
        return "None imitates a head of the teacher."
    return "\n".join(
        f"- {one.matched_phase}: L{one.student_layer}H{one.student_head} imitates the teacher's "
        f"L{one.teacher_layer}H{one.teacher_head} (distance {one.match_cost:.2f})"
        for one in description.matched_heads
    )
