"""The decoder that the settings name, with the documents and traces of a dataset as it reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas.config import EmbedConfig, HeadsConfig
from schemas.errors import ConfigError, MissingTableError
from schemas.refs import RunRef, StageInputs
from tasks.labels.search import LabelIndex
from tasks.labels.task import open_label_index
from tasks.open_models.documents import (
    ReadAnswers,
    ReadDocuments,
    Texts,
    chat_annotation,
    compact_annotation,
    read_answers,
    read_documents,
)
from tasks.open_models.models import DECODER, LoadedModel, ModelRef, check_folder, load_model
from tasks.open_models.scores import HeadRows, measure_rows
from tasks.sequences.batches import by_length, pad
from tasks.sequences.chat import Response
from tasks.sequences.compact import CompactForm, label_tokens
from tasks.sequences.tokens import TokenSequence
from tasks.sequences.traces import TraceTables, nearest_by
from warehouse.decoder_store import load_decoder_description
from warehouse.embedding_store import model_digest
from warehouse.parquet import read_table
from warehouse.published import latest_output


def locate_model(run: RunRef) -> ModelRef:
    """The decoder that the settings name, and its content as a hash.

    Raises:
        ConfigError: none is named, or the folder holds no decoder.
        MissingTableError: no decoder was trained on this dataset's traces.
    """
    named = run.config.heads.model
    if named is None:
        raise ConfigError("heads.model is null, so no heads are measured; set it to `decoder` or to a Hugging Face folder")
    if named != DECODER:
        folder = Path(named).expanduser()
        check_folder(folder)
        return ModelRef(str(folder.resolve()), model_digest(folder), folder.resolve().name, is_compact=False)
    output = latest_output(run, DECODER)
    if output is None:
        raise MissingTableError(f"dataset {run.dataset!r} has no decoder in {run.root}: run `ctd decoder {run.dataset}` first")
    (found,) = (ref for ref in output.artifacts if ref.name == DECODER)
    return ModelRef(found.path, found.content_hash, DECODER, is_compact=True)


@dataclass(frozen=True)
class Room:
    """A model, the documents and traces that it reads, and the label index."""

    run: RunRef
    inputs: StageInputs
    settings: HeadsConfig
    embed: EmbedConfig
    loaded: LoadedModel
    index: LabelIndex
    texts: Texts
    form: CompactForm | None
    """How the decoder trained here writes; null for a folder's model."""
    dev_document_ids: tuple[str, ...] | None
    """Train documents it was not trained on; null: any train document may be scored."""

    def read(self, document_ids: Sequence[str]) -> ReadDocuments:
        """Documents and their traces as the model reads them."""
        if self.form is not None:
            annotate, written = compact_annotation(self.texts, self.form), self.form.tokens
        else:
            responses = read_responses(self.inputs, self.texts.of(document_ids).traces)
            annotate = chat_annotation(self.texts, self.loaded, self.settings.prompt_text, responses)
            written = self.texts.names
        return read_documents(document_ids, self.texts, annotate, self.loaded, written)

    def read_answers(self, document_ids: Sequence[str]) -> ReadAnswers:
        """Documents and the final answers of their traces alone, as the model of a folder reads them."""
        responses = read_responses(self.inputs, self.texts.of(document_ids).traces)
        return read_answers(document_ids, self.texts, self.loaded, self.settings.prompt_text, responses)

    def measure(self, sequences: Sequence[TokenSequence]) -> Iterator[tuple[list[TokenSequence], HeadRows]]:
        """Batches of like lengths, with what every head does in them."""
        for places in by_length(sequences, self.settings.batch_size):
            chosen = [sequences[place] for place in places]
            batch = pad([one.token_ids.tolist() for one in chosen], self.loaded.pad_id).to(self.loaded.device)
            yield chosen, measure_rows(self.loaded.parts, chosen, batch)


def open_room(run: RunRef, inputs: StageInputs, model: ModelRef, heads: HeadsConfig, embed: EmbedConfig) -> Room:
    """Load model, index, documents and traces."""
    loaded = load_model(model, heads)
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    labels = read_table(inputs.tables["core_labels"], ["label_id", "label_uid", "label_name"])
    names = dict(labels.select("label_id", "label_name").iter_rows())
    documents = dict(read_table(inputs.tables["core_documents"], ["document_id", "document_text"]).iter_rows())
    traces = TraceTables(*(read_table(inputs.tables[f"core_{name}"]) for name in ("traces", "shortlist", "steps", "answers")))
    form, dev = None, None
    if model.is_compact:
        description = load_decoder_description(Path(model.path))
        made = description.settings
        tokens = label_tokens(dict(labels.select("label_id", "label_uid").iter_rows()))
        form = CompactForm(tokens, names, made.document_words, made.evidence_words)
        dev = description.dev_document_ids
    texts = Texts(documents, names, traces, nearest_by(index))
    return Room(run, inputs, heads, embed, loaded, index, texts, form, dev)


def read_responses(inputs: StageInputs, traces: pl.DataFrame) -> dict[str, Response]:
    """What the teacher wrote, by trace id."""
    columns = ["request_hash", "document_id", "reasoning_text", "completion_text"]
    joined = traces.join(read_table(inputs.tables["raw_traces"], columns), on=["request_hash", "document_id"])
    return {
        trace: Response(reasoning, completion)
        for trace, reasoning, completion in joined.select("trace_id", "reasoning_text", "completion_text").iter_rows()
    }
