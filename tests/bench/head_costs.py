"""What scoring one document costs by formula, in operations and bytes, for a model of any size; measured on small ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A Llama-like decoder and one document: `rows_early` and `rows_refine` are its scored rows, `candidates` its shortlist."""

    layers: int
    d_model: int
    heads: int
    kv_heads: int
    d_head: int
    feed_forward: int
    vocabulary: int
    tokens: int
    rows_early: int
    rows_refine: int
    candidates: int
    bytes_a_number: int

    @property
    def rows(self) -> int:
        return self.rows_early + self.rows_refine

    @property
    def width(self) -> int:
        """Of all query heads together."""
        return self.heads * self.d_head


LLAMA_70B = Shape(80, 8192, 64, 8, 128, 28672, 128_256, 4096, 20, 20, 20, 2)
"""Llama 3 70B in bfloat16 with a document and trace of 4,096 tokens."""


def parameters(shape: Shape) -> int:
    """Weights of the matrices, read-out and token table apart."""
    attention = shape.d_model * (2 * shape.width + 2 * shape.kv_heads * shape.d_head)
    return shape.layers * (attention + 3 * shape.d_model * shape.feed_forward) + 2 * shape.vocabulary * shape.d_model


def forward_flops(shape: Shape) -> float:
    """Of the body, without logits: two a weight and token, and attention over all pairs of tokens (no causal discount)."""
    matrices = 2 * shape.tokens * (parameters(shape) - 2 * shape.vocabulary * shape.d_model)
    return matrices + shape.layers * 4 * shape.tokens**2 * shape.width


def scoring_flops(shape: Shape, documents: int) -> float:
    """What scores add to it for one document of a batch of so many: of the matrix products alone."""
    rows = 2 * shape.rows * shape.tokens * shape.width  # attention at the rows
    spans = 2 * shape.rows_refine * shape.tokens * shape.heads * shape.candidates
    weighed = 2 * 2 * shape.rows_refine * shape.heads * shape.candidates
    centroid = 2 * shape.tokens * shape.d_model + 2 * shape.width * shape.d_model
    lengths = 2 * shape.rows_early * shape.width * (shape.d_head + 1)
    gram = 2 * shape.width * shape.d_head * shape.d_model / documents
    helpful = 2 * shape.rows_refine * shape.width * shape.d_model
    return shape.layers * (rows + spans + weighed + centroid + lengths + gram + helpful)


def kept_bytes(shape: Shape) -> int:
    """What scoring keeps of a document until the end: outputs at Q_refine of all layers, and the quantities themselves."""
    quantities = shape.heads * (2 * shape.rows_early + 3 * shape.rows_refine) * 4
    return shape.layers * (shape.rows_refine * shape.width * shape.bytes_a_number + quantities)


def layer_bytes(shape: Shape) -> int:
    """What scoring holds of a document beside a layer: attention at the rows in float32, three copies of it at most."""
    return 3 * shape.heads * shape.rows * shape.tokens * 4


def map_bytes(shape: Shape) -> int:
    """What keeping all attention maps would hold of a document."""
    return shape.layers * shape.heads * shape.tokens**2 * shape.bytes_a_number
