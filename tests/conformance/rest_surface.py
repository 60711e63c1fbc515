"""The whole REST surface, walked with the standard library and with clients that Dodona did not write.

Each function takes the base URL of a router ("http://host:port") and the names of models that are ready there; the
first is used where one is enough. `SURFACE` lists those that any cluster must pass, `REPOSITORY` those that load and
unload a model, so need an agent. The models must be batched and take rows of ones, or of the text "text".
"""

from collections.abc import Callable

from tests.conformance import rest_clients, rest_inference, rest_routes
from tests.conformance.rest_http import Models

Check = Callable[[str, Models], None]

SURFACE: tuple[Check, ...] = (
    rest_routes.health,
    rest_routes.server_metadata,
    rest_routes.models_are_described,
    rest_routes.statistics_count,
    rest_routes.the_index_lists_models,
    rest_routes.operating,
    rest_routes.what_is_not_offered,
    rest_routes.methods_and_paths,
    rest_inference.infer_json,
    rest_inference.infer_binary,
    rest_inference.infer_one_output,
    rest_inference.predict_rows_and_columns,
    rest_inference.request_ids,
    rest_inference.wrong_requests,
    rest_inference.large_bodies,
    rest_clients.triton_describes,
    rest_clients.triton_infers,
    rest_clients.triton_errors,
    rest_clients.triton_aio_infers,
    rest_clients.kserve_infers,
)
REPOSITORY: tuple[Check, ...] = (rest_routes.unload_and_load, rest_routes.load_what_does_not_exist)
