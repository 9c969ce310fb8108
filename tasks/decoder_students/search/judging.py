"""How a trial is judged: recall of the teacher's labels by the distribution that follows the student's own trace."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tasks.open_models.read_out import Speaker, Writing, next_labels, until_answer, write_traces

JUDGED_COUNT = 200
"""Development documents that a student writes of; all students the same."""

CUTOFF = 10
WRITTEN_AT_ONCE = 64


@dataclass(frozen=True)
class Exam:
    """Development documents: the document's part of the compact text, the teacher's labels, and labels that do not count."""

    prompts: tuple[list[int], ...]
    wanted: tuple[frozenset[int], ...]
    barred: tuple[frozenset[int], ...]
    max_tokens: int


def make_exam(
    prompts: Mapping[str, list[int]],
    answers: Mapping[str, Collection[int]],
    barred: Mapping[str, Collection[int]],
    max_tokens: int,
) -> Exam:
    """The first 200 documents with an answer of the teacher that counts.

    Args:
        prompts: by document, in the order drawn.
        answers: the teacher's labels of each document.
        barred: labels that are left out of rankings, of documents that have some.
        max_tokens: most tokens that a student may write.
    """
    left = {name: frozenset(barred.get(name, ())) for name in prompts}
    wanted = {name: frozenset(answers.get(name, ())) - left[name] for name in prompts}
    chosen = [name for name in prompts if wanted[name]][:JUDGED_COUNT]
    return Exam(
        tuple(prompts[name] for name in chosen),
        tuple(wanted[name] for name in chosen),
        tuple(left[n] for n in chosen),
        max_tokens,
    )


def judge(speaker: Speaker, exam: Exam) -> dict[str, float]:
    """`recall_at_10`: the student writes its trace, held to the form, then its distribution at `<answer>` ranks the labels."""
    written = write_traces(speaker, exam.prompts, Writing(exam.max_tokens, WRITTEN_AT_ONCE))
    contexts = [[[*prompt, *until_answer(one.token_ids, speaker)]] for prompt, one in zip(exam.prompts, written, strict=True)]
    spare = max(map(len, exam.barred), default=0)
    ranked = next_labels(speaker, contexts, CUTOFF + spare, WRITTEN_AT_ONCE).label_ids.tolist()
    return {"recall_at_10": recall_at(CUTOFF, ranked, exam.wanted, exam.barred)}


def recall_at(
    k: int, ranked: Sequence[Sequence[int]], wanted: Sequence[Collection[int]], barred: Sequence[Collection[int]]
) -> float:
    """Share of the wanted labels among the first k that are not barred, mean over documents, 0 to 1."""
    shares = []
    for labels, aimed, left in zip(ranked, wanted, barred, strict=True):
        first = [label for label in labels if label not in left][:k]
        shares.append(len({*first} & {*aimed}) / len(aimed))
    return sum(shares) / len(shares)
