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


def tail_of(message: bytes | memoryview, field: int) -> tuple[int, list[tuple[int, int]]]:
    """Where the fields number `field` (below 16) at the end of a message begin, and the bounds of their values: large
    ones stand there. (size, []) if it does not end so."""
    tag = field << 3 | LENGTH_DELIMITED
    position, size = 0, len(message)
    first, bounds = size, list[tuple[int, int]]()
    while position < size:
        head = message[position]
        if head == tag:
            first = min(first, position)
        elif bounds or head & 7 != LENGTH_DELIMITED or head >= 0x80:
            return size, []
        length = shift = 0
        group = 0x80
        while group >= 0x80:
            position += 1
            if position == size or shift > 28:
                return size, []
            group = message[position]
            length |= (group & 0x7F) << shift
            shift += 7
        start, position = position + 1, position + 1 + length
        if head == tag:
            bounds.append((start, position))
    return (first, bounds) if position == size else (size, [])


def without_tail(message: bytes | memoryview, field: int) -> bytes:
    """`message` without what `tail_of` finds; it parses if and only if `message` does."""
    return bytes(message[: tail_of(message, field)[0]])


def field_bytes(field: int, payload: bytes) -> bytes:
    """The whole field; empty if the payload is, as proto3 leaves default values out."""
    return head(field, len(payload)) + payload if payload else b""
