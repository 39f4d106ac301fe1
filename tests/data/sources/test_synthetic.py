from __future__ import annotations

import pickle

import numpy as np

from data.sources.synthetic import SyntheticSource


def test_images_depend_on_seed_and_index_alone() -> None:
    source = SyntheticSource(10, 3, image_size=20, seed=5)
    image, label = source.read(7)
    assert image.shape == (20, 20, 3) and image.dtype == np.uint8 and label == 1 and len(source) == 10
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(7)[0], image)
    assert not np.array_equal(source.read(6)[0], image)
    assert not np.array_equal(SyntheticSource(10, 3, image_size=20, seed=6).read(7)[0], image)
    assert {source.read(i)[1] for i in range(10)} == {0, 1, 2}
