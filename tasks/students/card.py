"""The model card of a student: what it is, what it was trained on, how well it does on development documents."""

from tasks.students.packing import StudentDescription

LEARNT = {
    "answers": "the teacher's final labels, in both parts",
    "mechanistic-no-p2": "the teacher's final labels, and its graded shortlist in the shortlister (phase 1)",
    "mechanistic-no-p1": "the teacher's final labels, and its keep and drop verdicts in the refiner (phase 2)",
    "mechanistic": "the teacher's final labels, its graded shortlist (phase 1) and its keep and drop verdicts (phase 2)",
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
| steps | {shortlister_steps} shortlister, {refiner_steps} refiner, {batch_size} documents each |
| peak learning rate | {learning_rate:g} |
| weight of phase 1, of phase 2 | {lambda_p1:g}, {lambda_p2:g} (only where the method has the phase) |
| training time | {train_cpu_s:.1f} CPU seconds |

## On the development documents, against known targets
{metrics}

## Use
`model.safetensors` holds the weights, and a memory of the training documents (vectors, hashed words, labels) that votes for
labels. It has no weight of its own for a label: labels that are added later are scored too, labels that are gone are not.
`config.json` says what it needs. Scores are comparable within one document only.

## Limits
It is as good as its supervision: it repeats the teacher's habits and mistakes. Labels that few training documents have, and
labels none has, are found by wording and likeness alone. The licence is that of the data it was trained on, of which the
memory holds derived numbers; this project does not know it.
"""


def write_card(description: StudentDescription) -> str:
    """The card as Markdown."""
    metrics = "\n".join(f"- {name}: {value:.3f}" for name, value in description.dev_metrics.items())
    values = description.model_dump() | {
        "learnt": LEARNT[description.system],
        "metrics": metrics or "None of them has a known target.",
    }
    return CARD.format(**values)
