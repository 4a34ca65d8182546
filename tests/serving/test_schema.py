"""The description of the service is true: requests made from it, valid and invalid, never meet a 5xx."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from service_cases import client as make_client

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}
_folder = tempfile.TemporaryDirectory()
_app = make_client(Path(_folder.name)).app
schema = schemathesis.openapi.from_asgi("/openapi.json", _app, headers={"Host": "localhost"})


def _ask(case: schemathesis.Case) -> None:
    case.headers["Host"] = "localhost"
    case.call_and_validate(checks=_CHECKS, timeout=600)


@schema.parametrize()
@settings(max_examples=3, phases=(Phase.generate,), **_QUIET)
def test_a_few_requests_per_route(case: schemathesis.Case) -> None:
    _ask(case)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@schema.parametrize()
@settings(max_examples=100, phases=(Phase.explicit, Phase.generate), **_QUIET)
def test_many_requests_per_route(case: schemathesis.Case) -> None:
    _ask(case)
