"""Label a file of texts with a trained student."""

from prefect import flow

from flows.stage import stage_run
from tasks.students.tagging.task import TagOrder, find_student, tag_file

Lines = list[tuple[str, str]]
"""A name and what is known, for people to read."""


@flow(name="tag")
def tag(
    student: str,
    source: str,
    target: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    source_format: str | None = None,
    target_format: str | None = None,
    is_overwriting: bool = False,
) -> Lines:
    """Write labels with probabilities, `target`; what cannot be tagged stands in `target.skipped.jsonl`.

    Args:
        student: a student's folder, or DATASET/SYSTEM for the newest published one.
        source: Parquet, JSON lines or CSV.
        target: Parquet, JSON lines or CSV.
        root: the data root with the student's label index.
        config: settings file.
        set: single settings.
        source_format: parquet, jsonl or csv; None: by the name.
        target_format: the same of the output.
        is_overwriting: replace a file that stands at `target`.
    """
    chosen = find_student(student, root)
    order = TagOrder(
        source=source,
        target=target,
        source_format=source_format,
        target_format=target_format,
        is_overwriting=is_overwriting,
    )
    with stage_run("tag", chosen.dataset, root, config, set, None) as run:
        return tag_file(run, chosen, order)
