"""What a request asks of the stand-in: about which document and labels, which phases, and in which form."""

from dataclasses import dataclass

from tasks.traces.prompts import Wish, read_document, read_given, read_offered, read_wish
from tasks.traces.stand_in.replies import Json
from tasks.traces.stand_in.thinking import Question
from tasks.traces.stand_in.wording import Style

FORMATS = {"json": "json", "tagged": "tagged", "free": "prose"}
"""The answer format of each form a prompt may ask for."""


@dataclass(frozen=True)
class Asked:
    """A question, and how its answer is to be written; a document's first line is its title."""

    question: Question
    style: Style
    answer_format: str

    @property
    def title(self) -> str:
        """What the document calls itself."""
        return self.question.text.strip().partition("\n")[0]


def read_request(body: Json, answer_format: str, takes_schema: bool) -> Asked:
    """What a request asks for, as a stand-in of these settings takes it.

    Args:
        body: has messages, all of them text.
        answer_format: how the stand-in answers; `asked`: as the prompt asks.
        takes_schema: an answer to a request with a JSON schema is by that schema, whatever the format.
    """
    system, user = body["messages"][0]["content"], body["messages"][-1]["content"]
    wish, offered = read_wish(system), read_offered(user)
    has_schema = wants_schema(body)
    is_by_schema = has_schema and takes_schema
    is_as_asked = is_by_schema or answer_format == "asked"
    chosen = "json" if is_by_schema else FORMATS[wish.form] if is_as_asked else answer_format
    # a prompt that comes with a schema asks for numbers in its text, too
    has_ids = has_schema and is_as_asked and offered is not None
    question = _question(wish, user, offered)
    return Asked(question, Style(wish.phases, offered is not None, question.given is not None, has_ids), chosen)


def _question(wish: Wish, user: str, offered: tuple[int, ...] | None) -> Question:
    text = read_document(user) or ""
    if wish.phases == "phase-2" and offered is not None:
        return Question(text, None, offered)
    return Question(text, offered, read_given(user))


def wants_schema(body: Json) -> bool:
    """True if the answer is to be JSON by a schema, or any JSON."""
    wanted = body.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in ("json_schema", "json_object")
