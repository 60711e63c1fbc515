"""The client library: `Client` for ordinary code, `AsyncClient` for asyncio, the same calls on both.

What a call does is written once, as a generator of remote calls and pauses (`steps.py`); the two clients only carry
them out, one by blocking, one by awaiting. So they cannot drift apart, and the logic is tested without a network.
"""

from dodona.client.aio import AsyncClient
from dodona.client.description import Description, ModelEntry
from dodona.client.prediction import Prediction
from dodona.client.sync import Client

__all__ = ["AsyncClient", "Client", "Description", "ModelEntry", "Prediction"]
