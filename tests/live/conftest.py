"""Says at the head of a run which SDKs and instrumentations are not there, so that a short run is not taken for all.

On the oldest Python the newest google-genai is of line 2 (line 3 needs 3.11); everything else is the same.
"""

from __future__ import annotations

from tests.live.sdks import absent
from tests.live.test_matrix import lacking


def pytest_report_header() -> list[str]:
    missing = [*absent(), *lacking()]
    return [f"live matrix without: {', '.join(missing)}"] if missing else []
