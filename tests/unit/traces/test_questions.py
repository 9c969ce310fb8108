import numpy as np
import polars as pl

from tasks.labels.search import LabelIndex
from tasks.traces.prompts import read_document, read_offered
from tasks.traces.questions import candidate_prompts, chosen_documents, open_prompts

DOCUMENTS = pl.DataFrame(
    {
        "document_id": ["b", "a", "t", "c"],
        "split": ["train", "train", "test", "train"],
        "source_line": [1, 0, 0, 2],
        "document_text": ["text b", "text a", "text t", "text c"],
    }
)
LABELS = pl.DataFrame({"label_id": [10, 11, 12], "label_name": ["ten", "eleven", "twelve"]})
INDEX = LabelIndex(np.array([10, 11, 12], np.int32), np.eye(3, dtype=np.float32))
FILTERED = pl.DataFrame({"document_id": ["b"], "label_id": [10], "is_filtered": [True]})


def test_chosen_documents_takes_the_first_of_each_split() -> None:
    assert chosen_documents(DOCUMENTS, 2)["document_id"].to_list() == ["a", "b", "t"]
    assert chosen_documents(DOCUMENTS, None).height == 4


def test_open_prompts_asks_about_each_text() -> None:
    assert [read_document(prompt.user) for prompt in open_prompts(["x", "y"], LABELS)] == ["x", "y"]


def test_candidate_prompts_offers_the_nearest_labels_but_not_the_documents_own() -> None:
    vectors = np.array([[0.9, 0.4, 0.1], [0.9, 0.4, 0.1]], np.float32)
    prompts = candidate_prompts(DOCUMENTS.head(2), vectors, INDEX, LABELS, FILTERED, 2)
    assert [read_offered(prompt.user) for prompt in prompts] == [(11, 12), (10, 11)]
    assert "[11] eleven" in prompts[0].user
