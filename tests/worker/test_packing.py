"""Where the rows of each sequence lie."""

from loquor_worker.models.packing import Packing, Run


def test_rows_and_runs() -> None:
    packing = Packing((1, 3, 3, 4))
    assert packing.offsets == (0, 1, 4, 7, 11)
    assert (packing.total, packing.longest) == (11, 4)
    assert packing.runs == (Run(0, 1, 1), Run(1, 2, 3), Run(7, 1, 4))
    assert packing.positions().tolist() == [0, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3]
