"""The meaning of every gRPC call: bytes in, bytes out. Either front carries them (router.front.calls)."""
