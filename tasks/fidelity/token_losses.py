"""How likely the teacher's traces are to a student: cross-entropy of their tokens, by document."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import nn

from tasks.open_models.lessons import Lesson, make_batch, make_lesson
from tasks.open_models.read_out import Speaker
from tasks.sequences.batches import by_length
from tasks.sequences.tokens import TokenSequence


def document_losses(speaker: Speaker, sequences: Sequence[TokenSequence], batch_size: int) -> pl.DataFrame:
    """`document_id`, `loss_nats` (mean a token) and `token_count` of each trace; tokens unknown to the student do not count.

    Args:
        speaker: the student.
        sequences: the teacher's traces of documents that neither was trained on.
        batch_size: documents at once.
    """
    marks, unknown = speaker.tokenizer.get_vocab(), speaker.tokenizer.unk_token_id
    lessons = [make_lesson(one.token_ids.tolist(), marks, -1 if unknown is None else int(unknown)) for one in sequences]
    rows = []
    for places in by_length(sequences, batch_size):
        sums = _loss_sums(speaker, [lessons[place] for place in places])
        rows += [(sequences[place].document_id, *found) for place, found in zip(places, sums, strict=True)]
    schema = {"document_id": pl.String, "loss_nats": pl.Float64, "token_count": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("document_id")


@torch.inference_mode()
def _loss_sums(speaker: Speaker, lessons: Sequence[Lesson]) -> list[tuple[float, int]]:
    """Mean loss and tokens of each lesson; padding stands on the right, so no row sees it."""
    batch = make_batch(lessons, speaker.pad_id).to(speaker.model.device)
    width = batch.token_ids.shape[1]
    owners, places = batch.rows // width, batch.rows % width
    first = int(places.min()) if len(places) else 0  # logits of the documents' tokens are not needed
    kept = torch.arange(first, width, device=batch.token_ids.device)
    logits = speaker.model(input_ids=batch.token_ids, use_cache=False, logits_to_keep=kept).logits
    nats = nn.functional.cross_entropy(logits[owners, places - first].float(), batch.targets, reduction="none")
    rows = owners.cpu().numpy()
    sums = np.bincount(rows, weights=nats.double().cpu().numpy(), minlength=len(lessons))
    counts = np.bincount(rows, minlength=len(lessons)).tolist()
    return [(total / max(count, 1), count) for total, count in zip(sums.tolist(), counts, strict=True)]
