"""The model card of a student: what it is, what it was trained on, how well it does on development documents."""

from tasks.students.calibration import MEASURED_COUNT, Calibration
from tasks.students.packing import StudentDescription

LEARNT = {
    "answers": "the teacher's final labels, in both parts",
    "mechanistic-no-p2": "the teacher's final labels, and its graded shortlist and the words it goes by (phase 1)",
    "mechanistic-no-p1": "the teacher's final labels, and its keep and drop verdicts in the refiner (phase 2)",
    "mechanistic": "the teacher's final labels, its graded shortlist and the words it goes by (phase 1), and its keep and drop "
    "verdicts (phase 2)",
    "mechanistic-random-anchors": "what `mechanistic` learns from, but that other words, drawn at random, weigh more or less: a "
    "control, not for use",
    "supervised": "known targets of the same documents instead of the teacher's answers; no phases",
}

CARD = """# {system}, seed {seed}

A student of kind `{kind}`: it picks labels of `{dataset}` out of {label_count:,}. A shortlister scores every label; a refiner
orders the best {shortlist_size}. It learnt from {learnt}.

| | |
| --- | --- |
| run | `{run_id}` |
| embedder, frozen | `{embedder}`, documents cut at {document_tokens} tokens, labels at {label_tokens} |
| training documents | {document_count:,} ({left_out_count:,} more had no usable trace) |
| development documents | {dev_document_count:,}, part of train, never trained on |
| trained numbers | {parameter_count:,} |
| steps | {shortlister_steps} shortlister, {refiner_steps} refiner, {batch_size} documents each{why_so_many} |
| peak learning rate, weight decay | {learning_rate:g}, {weight_decay:g} |
| temperature at the start | {temperature:g} |
| weight of phase 1, of phase 2 | {lambda_p1:g}, {lambda_p2:g} (only where the method has the phase) |
| training time | {train_cpu_s:.1f} CPU seconds |

## On the development documents, against known targets
{metrics}

## Probabilities
{calibration}

## Use
`ctd tag FOLDER IN OUT` labels a Parquet, JSONL or CSV file. The label index and the embedder are not in this folder:
`config.json` names them. `model.safetensors` holds the weights, and a memory of the training documents (vectors, hashed
words, labels) that votes for labels, with weights of words fitted to the labels that it has answers of. The networks have no
weight of their own for a label: labels that are added later are scored too, labels that are gone are not.
Scores are comparable within one document only, probabilities between documents.

## Limits
It is as good as its supervision: it repeats the teacher's habits and mistakes. Labels that few training documents have, and
labels none has, are found by wording and likeness alone. The licence is that of the data it was trained on, of which the
memory holds derived numbers; this project does not know it.
"""


HELD = """A probability says how likely its supervision ({learnt}) names the label for a document it has an answer for, not how
likely the label is right. The {form} form was fitted on {fit_document_count} development documents with an answer. On
{held_document_count} others its log loss is {log_loss_nats:.4f} nats a label of the shortlist, and over the first {count} labels
of each the expected calibration error is {error:.4f} (95% interval {low:.4f} to {high:.4f}; chance alone gives
{error_if_perfect:.4f} there)."""

NOT_HELD = (
    "None: too few development documents have an answer. `ctd tag` needs them: trace more documents, or raise distill.dev_frac."
)


def write_card(description: StudentDescription) -> str:
    """The card as Markdown."""
    metrics = "\n".join(f"- {name}: {value:.3f}" for name, value in description.dev_metrics.items())
    values = description.model_dump() | {
        "why_so_many": "" if description.max_cpu_s is None else f"; as many as fit {description.max_cpu_s:g} CPU seconds",
        "learnt": LEARNT[description.system],
        "metrics": metrics or "None of them has a known target.",
        "calibration": describe_calibration(description.calibration, description.system),
    }
    return CARD.format(**values)


def describe_calibration(calibration: Calibration | None, system: str) -> str:
    """What the probabilities mean and how well they hold, as Markdown."""
    if calibration is None:
        return NOT_HELD
    low, high = calibration.error_ci
    source = "known targets" if system == "supervised" else "the teacher's final labels"
    return HELD.format(**calibration.model_dump(), learnt=source, count=MEASURED_COUNT, low=low, high=high)
