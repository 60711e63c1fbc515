"""The few pieces of protobuf's wire format that the hot path writes by hand: varints and length-delimited fields."""

LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """Base-128 form of a number >= 0, least significant group first."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def head(field: int, size: int) -> bytes:
    """What stands before `size` bytes of a string, bytes or message field."""
    return varint(field << 3 | LENGTH_DELIMITED) + varint(size)


def field_bytes(field: int, payload: bytes) -> bytes:
    """The whole field; empty if the payload is, as proto3 leaves default values out."""
    return head(field, len(payload)) + payload if payload else b""
