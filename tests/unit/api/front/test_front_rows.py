"""Patches of documents in front: what RFC 7396 says, with all digits."""

import json

import pytest

from chalicelib.api.front.rows import merged
from chalicelib.contract import resources
from tests.kit.merge_patches import PATCHES


@pytest.mark.parametrize(("target", "patch", "result"), PATCHES)
def test_a_column_is_patched_as_the_rfc_says(front, target, patch, result):
    places = resources.resource("places")
    row = {"code": "ZRH", "name": None, "size": 1, "detail": target}
    before = json.dumps(row)

    patched = merged(places, row, {"code": "other spelling", "detail": patch})

    assert patched == {**row, "detail": result}
    assert json.dumps(row) == before
