"""The model card of a decoder: what it is, what it stands for, how well it does on development documents."""

from schemas.decoders import DecoderDescription
from tasks.open_models.lessons import PHASES

CARD = """# A decoder of the traces of {dataset}

**A stand-in.** A Llama of {layers} layers, trained from scratch on the compact form of the teacher's traces, so that attention
heads can be measured without a model hub. It is no language model: it knows {label_count:,} labels and {word_count:,} words, each
as one token, and writes nothing but traces. What its heads do says nothing of the heads of the model that wrote the traces.

    <document> w1 ... wN <shortlist> @a @b <refine> <drop> @b w w <keep> @a w w <answer> @a <end>

| | |
| --- | --- |
| run | `{run_id}` |
| layers, width, heads (keys) | {layers}, {d_model}, {heads} ({kv_heads}) |
| trained numbers | {parameter_count:,}, {body_parameter_count:,} of them outside the table of tokens |
| training documents | {document_count:,} ({left_out_count:,} more had no usable trace, or were not needed) |
| development documents | {dev_count:,}, part of train, never trained on; `decoder.json` names them |
| steps | {train_steps}, {batch_size} documents each; peak learning rate {learning_rate:g} |
| read | the first {document_words} words of a document; {unknown_percent:.1f}% of all tokens are unknown |
| training time | {train_cpu_s:.0f} CPU seconds, {tokens_per_cpu_s:,.0f} tokens a second |

## On development documents
{losses}. Of {format_document_count} traces that it wrote, {format_percent:.0f}% keep the form.

## Use
`AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` load this folder. A prompt is `<document>` and the
words of the document, folded; the decoder goes on with `<shortlist>`. Its table was learnt as a map of vectors of
`{embedder}` plus a vector of each token's own, and is written out here.

## Limits
It imitates the traces it was trained on, with their mistakes. The licence is that of the data; this project does not know it.
"""


def write_card(description: DecoderDescription) -> str:
    """The model card as Markdown."""
    losses = ", ".join(f"{phase} {description.dev_losses[f'{phase}_loss']:.2f}" for phase in PHASES)
    return CARD.format(
        **description.model_dump(exclude={"settings"}),
        **description.settings.model_dump(),
        dev_count=len(description.dev_document_ids),
        unknown_percent=100 * description.unknown_frac,
        format_percent=100 * description.format_frac,
        losses=f"Loss in nats a token: {losses}, all {description.dev_losses['total_loss']:.2f}",
    )
