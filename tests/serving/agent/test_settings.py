"""What an agent's settings mean together."""

import pytest

from serving.agent.settings import AgentSettings, Supervise
from serving.errors import ConfigurationError
from serving.settings import validate


@pytest.mark.parametrize(
    ("repository", "seconds"),
    [("./models", 1.0), ("/srv/models", 1.0), ("file:///srv/models", 1.0), ("s3://bucket/models", 60.0)],
)
def test_a_bucket_is_looked_at_less_often_than_a_folder(repository: str, seconds: float) -> None:
    """A look at a bucket lists all of it, over the network and for money."""
    supervise = Supervise(poll_interval_s=1.0, remote_poll_interval_s=60.0)
    assert AgentSettings(repository=repository, supervise=supervise).poll_interval_s == seconds


def test_a_wrong_router_address_is_refused() -> None:
    """In the settings, by its place, before anything is dialled."""
    with pytest.raises(ConfigurationError, match=r"routers.0: 'nonsense' is not a link address"):
        validate(AgentSettings, {"routers": ["nonsense"]})
