"""The overlay's path by CUDA, on a GPU that is not there: the bytes of the compiled path."""

import numpy as np
import pytest
from pictures import make_picture
from saliency_tubes.engine.cuda.driver import why_not
from saliency_tubes.engine.draw.overlay import Overlay, paths
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import Layout
from saliency_tubes.engine.types import Crop

pytestmark = pytest.mark.skipif(len(paths()) == 1, reason="installed without a C++ compiler")


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("preset", PRESETS)
def test_bytes_are_those_of_the_compiled_path(gpu_double, layout, preset):
    gpu_double(seed=list(Layout).index(layout))
    cells = np.random.default_rng(3).random((5, 7))
    cells[0, 0], cells[2, 3] = np.nan, np.inf
    by_cuda, compiled = Overlay(PRESETS[preset], "cuda"), Overlay(PRESETS[preset], paths()[0])
    for height, width, pad in ((33, 57, 5), (90, 160, 0), (16, 31, 1)):  # larger, then smaller than what is there
        drawn, expected = (make_picture(layout, height, width, pad=pad) for _ in range(2))
        by_cuda.draw(drawn, cells, Crop(0.1, 0, 0.9, 1))
        compiled.draw(expected, cells, Crop(0.1, 0, 0.9, 1))
        assert all(map(np.array_equal, drawn.planes, expected.planes))
    assert by_cuda.not_finite == compiled.not_finite == 6
    assert by_cuda.description == "CUDA, on copies of the frames"
    by_cuda.close()
    by_cuda.close()


@pytest.mark.skipif(why_not() is None, reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(UsageError, match="GPU 0 cannot be used: ") as caught:
        Overlay(Style(), "cuda")
    assert "\n" not in str(caught.value)
