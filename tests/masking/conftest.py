"""Every model of models.py in turn."""

import pytest

from tests.masking.models import MODELS


@pytest.fixture(params=MODELS, ids=lambda build: build.__name__)
def build(request):
    return request.param
