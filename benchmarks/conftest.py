"""Lets the benchmarks import what lies beside them, and keeps their JSON to what is published."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.hookimpl
def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """Provenance in place of the machine's name, medians in place of every sample."""
    import harness

    output_json["machine_info"] = harness.provenance()
    output_json["commit_info"] = {}
    for each in output_json["benchmarks"]:
        each["stats"].pop("data", None)
