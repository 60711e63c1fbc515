"""Protobuf messages to plain values for JSON, in the form that Triton's REST API has: the proto's field names, numbers
as numbers (protobuf's own JSON form quotes 64-bit ones), enums by name, and fields that have their default value too.
"""

from typing import Any

from google.protobuf.message import Message


def plain(message: Message) -> dict[str, Any]:
    """A field with presence (a message, a oneof member) that is not set is left out; every other one is there."""
    return {
        field.name: _field(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


# Fields are `Any`: the descriptor classes of protobuf's C and Python implementations have no common type.
def _field(field: Any, value: Any) -> Any:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        of_value = entry.fields_by_name["value"]
        return {str(key): _one(of_value, value[key]) for key in value}
    if field.is_repeated:
        return [_one(field, element) for element in value]
    return _one(field, value)


def _one(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value.hex() if isinstance(value, bytes) else value
