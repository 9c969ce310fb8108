"""How a decoder of compact texts is asked by messages: its chat template takes the document out of the prompt, folded to words.

The template does what `tasks/sequences/words.find_words` does, so that the tokenizer need not, and reads compact text as it is.
"""

from tasks.sequences.compact import DOCUMENT

COMBINING = (
    ("\u0300", "\u036f"), ("\u0591", "\u05c7"), ("\u064b", "\u0670"), ("\u0900", "\u0963"), ("\u0966", "\u0dff"),
    ("\u0e31", "\u0e4e"), ("\u200c", "\u200d"),
)  # fmt: skip
"""First and last of the characters that go on with a word without being letters or digits."""

# Each sign that parts words is replaced in the whole text at once: a loop over characters would take 50 times as long.
_TEMPLATE = """\
{%- set asked = messages[-1]["content"] -%}
{%- set opens = "\\n<document>\\n" -%}
{%- if opens in asked -%}
{%- set read = namespace(text=asked.split(opens, 1)[1].removesuffix("\\n</document>"), count=0) -%}
{%- for sign in read.text | unique(case_sensitive=true) if not (sign.isalnum() or COMBINES) -%}
{%- set read.text = read.text.replace(sign, " ") -%}
{%- endfor -%}
{{- "DOCUMENT" -}}
{%- for word in read.text.split() if read.count < LIMIT and word[0].isalnum() -%}
{%- set read.count = read.count + 1 -%}
{{- " " + word.casefold() -}}
{%- endfor -%}
{%- else -%}
{{- asked -}}
{%- endif -%}"""


def compact_template(document_words: int) -> str:
    """The chat template: of a message with a document between its marked lines, the first words as a compact prompt.

    It differs from `find_words` in two places: a combining mark that follows no letter takes the letters after it along, out of
    the text; and NFKC is left to the tokenizer, after folding. A message without a document stands as it is.

    Args:
        document_words: most words.
    """
    combines = " or ".join(f'"{first}" <= sign <= "{last}"' for first, last in COMBINING)
    return _TEMPLATE.replace("COMBINES", combines).replace("DOCUMENT", DOCUMENT).replace("LIMIT", str(document_words))
