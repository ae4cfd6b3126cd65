from __future__ import annotations

from collections.abc import Mapping

import pytest
from support.deployment import ROOT
from support.dockerfile import Image, build


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Image]:
    """The stages of the Dockerfile, rehearsed. Tests that use them are of the group `image`: one worker builds them."""
    return build(ROOT / "Dockerfile", tmp_path_factory.mktemp("image"))
