"""Every case of cases.py in turn."""

import pytest

from tests.layers.cases import CASES


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param
