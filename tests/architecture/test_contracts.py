"""Every module keeps the contracts of the tree."""

import pytest

from tests.architecture import contracts
from tests.architecture.source import Project


@pytest.fixture(scope="module")
def project():
    return Project.load()


@pytest.mark.parametrize("contract", contracts.CONTRACTS, ids=lambda contract: contract.__name__)
def test_contract_holds(project, contract):
    assert contract(project) == []
