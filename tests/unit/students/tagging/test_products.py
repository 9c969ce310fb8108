"""Products of sparse rows against the dense ones."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, random_array

from tasks.students.tagging import products
from tasks.students.tagging.products import QuickProduct


def drawn(row_count: int, column_count: int, density: float, seed: int) -> csr_matrix:
    return csr_matrix(random_array((row_count, column_count), density=density, rng=seed, dtype=np.float32))


@pytest.mark.parametrize("fill", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("row_count", [0, 1, products.PART_ROWS, products.PART_ROWS + 1])
def test_quick_product_is_the_product(fill: float, row_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_FILL", fill)  # all rows dense, some, none
    weights, rows = drawn(40, 30, 0.3, 1), drawn(row_count, 40, 0.2, 2)
    product, block = QuickProduct(weights), torch.full((row_count, 30), 7.0)
    product.write(rows, block)
    np.testing.assert_allclose(block.numpy(), (rows @ weights).toarray(), atol=1e-6)
    product.add(rows, block)
    np.testing.assert_allclose(block.numpy(), 2 * (rows @ weights).toarray(), atol=1e-6)


def test_quick_product_leaves_what_it_is_given_as_it_was() -> None:
    weights, rows = drawn(40, 30, 0.3, 1), drawn(5, 40, 0.2, 2)
    kept = weights.copy(), rows.copy()
    QuickProduct(weights).write(rows, torch.empty(5, 30))
    for one, before in zip((weights, rows), kept, strict=True):
        assert np.array_equal(one.toarray(), before.toarray())
        assert one.nnz == before.nnz
