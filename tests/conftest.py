"""What the tests of the whole product share: a filled store, and running services with a filled bank."""

from collections.abc import Iterator

import pytest
from product import CONVERSATION, Product, Services


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A store whose bank `me` has memorized the demo conversation."""
    product = Product(tmp_path_factory.mktemp("embedded"))
    product.ok("memorize", str(CONVERSATION), "--bank", "me")
    return product


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Running services."""
    with Services(Product(tmp_path_factory.mktemp("services"))) as services:
        yield services


@pytest.fixture(scope="module")
def served(services: Services) -> Product:
    """Running services whose bank `me` has memorized the demo conversation."""
    services.product.ok("memorize", str(CONVERSATION), "--bank", "me")
    return services.product


@pytest.fixture(params=["embedded", "served"])
def product(request: pytest.FixtureRequest) -> Product:
    """The same commands by both ways: in their own process, and through services."""
    return request.getfixturevalue(request.param)
