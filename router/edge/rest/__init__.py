"""The REST edge: HTTP in, OIP protobuf inside, HTTP out. `app.rest_app(core)` is what the listener calls."""
