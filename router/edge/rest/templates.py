"""What is the same from one request to the next, and from one answer to the next, kept so that it is made once.

A client asks one model again and again with the same names, datatypes and shapes. The protobuf head made of them, and
the JSON around an answer's values, are then the same bytes. A template recognises its own kind by comparing bytes, all
of them but the values'; anything else takes the general way (`decode`, `encode`), which also makes the template.
"""

from contextlib import suppress
from struct import error as StructError
from typing import Any, Final

import orjson

from protos import inference_pb2
from router.edge.rest.decode import RAW_FIELD, Asked, Wanted, check_message, data_of
from router.edge.rest.elements import numbers
from router.edge.rest.encode import Skeleton
from serving.wire import head

LONGEST: Final = 2048
"""Bytes of what is compared; longer ones are not likely to come again."""
_FORMS: Final = 16  # JSON forms of one model
_SHELF: Final = 256
_ATTEMPTS: Final = 16  # templates made in one form before it is given up
_ATTEMPTS_LATER: Final = 64  # and one in so many after that
_RAW_OUTPUT: Final = inference_pb2.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER


class BinaryTemplate:
    """Requests whose JSON part, byte for byte, and length are those of an earlier one."""

    __slots__ = ("_end", "_size", "_steps", "_text", "answer", "wanted")

    def __init__(self, text: bytes, size: int, asked: Asked) -> None:
        """`size` is the whole body's, of which `text` is the JSON part."""
        self._text = text
        self._size = size
        self._steps: list[tuple[bytes, int]] = []
        self.wanted = asked.wanted
        self.answer: AnswerTemplate | None = None
        before = asked.head
        for raw in asked.raws:
            before += head(RAW_FIELD, len(raw))
            if isinstance(raw, memoryview):
                self._steps.append((before, len(raw)))
                before = b""
            else:
                before += raw
        self._end = before

    def message(self, body: bytes, max_bytes: int) -> bytes | None:
        """The message, or None if the request is another. Raises TooLarge."""
        if len(body) != self._size or not body.startswith(self._text):
            return None
        at = len(self._text)
        view = memoryview(body)
        parts: list[bytes | memoryview] = []
        for before, size in self._steps:
            parts += (before, view[at : at + size])
            at += size
        parts.append(self._end)
        message = b"".join(parts)
        check_message(len(message), max_bytes)
        return message


class JsonTemplate:
    """Requests whose JSON, but for the members `data`, is that of an earlier one; `Templates` finds it by that."""

    __slots__ = ("_head", "_tensors", "answer", "wanted")

    def __init__(self, inputs: list[dict[str, Any]], asked: Asked) -> None:
        """`inputs` are `bare`'s."""
        self._head = asked.head
        self._tensors = [
            (tensor["datatype"], tensor["shape"], f"inputs[{index}]") for index, tensor in enumerate(inputs)
        ]
        self.wanted = asked.wanted
        self.answer: AnswerTemplate | None = None

    def message(self, inputs: list[dict[str, Any]], max_bytes: int) -> bytes:
        """The message of such a request. Raises TooLarge, InvalidRequest (values that do not fit)."""
        parts = [self._head]
        for tensor, (datatype, shape, where) in zip(inputs, self._tensors, strict=True):
            raw = data_of(tensor, datatype, shape, where)
            parts += (head(RAW_FIELD, len(raw)), raw)
        message = b"".join(parts)
        check_message(len(message), max_bytes)
        return message


RequestTemplate = BinaryTemplate | JsonTemplate


def bare(document: Any) -> tuple[bytes, list[dict[str, Any]]] | None:
    """The text of a request without its values, and its tensors; None where they are not all in the JSON. Text, because
    that tells 1 from 1.0 and true."""
    inputs = document.get("inputs") if type(document) is dict else None
    if type(inputs) is not list:
        return None
    columns = []
    for tensor in inputs:
        if type(tensor) is not dict or "data" not in tensor:
            return None
        columns.append({name: value for name, value in tensor.items() if name != "data"})
    return orjson.dumps({**document, "inputs": columns}), inputs


class AnswerTemplate:
    """Replies whose bytes, but for the values, are those of an earlier one to a request of the same template."""

    __slots__ = ("_cuts", "_size", "compared", "skeleton", "textual")

    def __init__(self, reply: bytes, wanted: Wanted) -> None:
        """Raises ValueError where the layout is another than the usual, which ends in the raw contents."""
        answer = inference_pb2.ModelInferResponse.FromString(reply)
        raws = list(answer.raw_output_contents)
        if not raws or len(raws) != len(answer.outputs):
            raise ValueError("the outputs are not raw contents")
        heads = [head(_RAW_OUTPUT, len(raw)) for raw in raws]
        start = len(reply) - sum(map(len, heads)) - sum(map(len, raws))
        if start < 0 or not reply.endswith(b"".join([part for pair in zip(heads, raws, strict=True) for part in pair])):
            raise ValueError("the raw contents are not the end")
        self._size = len(reply)
        self._cuts: list[tuple[int, bytes, int]] = []
        before = reply[:start]
        at = 0
        for before_raw, raw in zip(heads, raws, strict=True):
            before += before_raw
            end = at + len(before) + len(raw)
            self._cuts.append((at, before, end))
            at = end
            before = b""
        self.compared = start
        """Bytes that are not values."""
        self.skeleton = Skeleton(answer, wanted, [len(raw) for raw in raws])
        self.textual = sum(len(raw) for raw, binary in zip(raws, self.skeleton.binary, strict=True) if not binary)
        """Bytes of the tensors that are to be written as JSON."""

    def raws(self, reply: bytes) -> list[memoryview] | None:
        """The raw bytes of each output, or None if the reply is another."""
        if len(reply) != self._size:
            return None
        raws = []
        view = memoryview(reply)
        for at, before, end in self._cuts:
            if not reply.startswith(before, at):
                return None
            raws.append(view[at + len(before) : end])
        return raws


class TextTemplate:
    """Requests of one flat tensor of numbers whose JSON, but for the text of the array `data`, is byte for byte that of
    an earlier one: of those only the array is parsed.

    Where that text is one whole array, the document is the earlier one with another array. Where it is not, or its
    values are not as many plain numbers as before, the request goes the general way, which says what is wrong with it.
    """

    __slots__ = ("_after", "_before", "_head", "_packed", "_types", "template")

    def __init__(self, text: bytes, document: Any, asked: Asked, template: JsonTemplate) -> None:
        """Raises ValueError for any other request, and where the array cannot be told from the rest."""
        start = text.find(b"[", text.find(b'"data"'))
        stop = text.index(b"]", start) + 1
        self._before, self._after = text[:start], text[stop:]
        self.template = template
        (tensor,) = document["inputs"]
        values = tensor["data"]
        # As texts, which tell 1 from 1.0 and true. An array that is empty, or holds arrays, could be another.
        emptied = orjson.dumps({**document, "inputs": [{**tensor, "data": []}]})
        if (
            type(values) is not list
            or not values
            or len(self._before) + len(self._after) > LONGEST
            or orjson.dumps(orjson.loads(self._before + b"[]" + self._after)) != emptied
        ):
            raise ValueError("the array is elsewhere")
        self._packed, self._types = numbers(tensor["datatype"], len(values))
        self._head = asked.head + head(RAW_FIELD, self._packed.size)

    def message(self, text: bytes, max_depth: int, max_bytes: int) -> bytes | None:
        """The message of such a request, or None."""
        before, after = self._before, self._after
        if not text.startswith(before) or not text.endswith(after) or text.count(b"[") + text.count(b"{") > max_depth:
            return None
        try:
            values = orjson.loads(text[len(before) : len(text) - len(after)])
            if type(values) is not list or not self._types.issuperset(map(type, values)):
                return None
            message = self._head + self._packed.pack(*values)
        except (orjson.JSONDecodeError, StructError, OverflowError):
            return None
        return message if len(message) <= max_bytes else None


class Templates:
    """Those of the requests for one model in one form. Where they do not fit time and again, as for a client that
    numbers its requests in the JSON, making them is mostly left off."""

    __slots__ = ("_in_vain", "_json", "binary", "text")

    def __init__(self) -> None:
        self.binary: BinaryTemplate | None = None
        self.text: TextTemplate | None = None
        self._json: dict[bytes, JsonTemplate] = {}
        self._in_vain = 0

    def _worth_it(self) -> bool:
        self._in_vain += 1
        return self._in_vain <= _ATTEMPTS or self._in_vain % _ATTEMPTS_LATER == 0

    def keep_binary(self, text: bytes, size: int, asked: Asked) -> BinaryTemplate | None:
        if len(text) > LONGEST or not self._worth_it():
            return None
        self.binary = BinaryTemplate(text, size, asked)
        return self.binary

    def json(self, document: Any) -> tuple[JsonTemplate, list[dict[str, Any]]] | None:
        """The template that fits, with the tensors to fill in."""
        parted = bare(document) if self._json else None
        known = None if parted is None else self._json.get(parted[0])
        return None if parted is None or known is None else (known, parted[1])

    def keep_json(self, text: bytes, document: Any, asked: Asked) -> JsonTemplate | None:
        parted = bare(document) if self._worth_it() else None
        if parted is None or len(parted[0]) > LONGEST:
            return None
        if len(self._json) >= _FORMS:
            self._json.clear()
        made = self._json[parted[0]] = JsonTemplate(parted[1], asked)
        with suppress(ValueError):  # orjson's own errors are such too
            self.text = TextTemplate(text, document, asked, made)
        return made

    def keep_answer(self, template: RequestTemplate, reply: bytes) -> None:
        if not self._worth_it():
            return
        try:
            known = AnswerTemplate(reply, template.wanted)
        except ValueError:
            return
        if known.compared <= LONGEST:
            template.answer = known


class Shelf:
    """The templates of all models, apart from heads: proxies and tracing make every head different."""

    __slots__ = ("_templates",)

    def __init__(self) -> None:
        self._templates: dict[tuple[str, str, int | None, int], Templates] = {}

    def templates(self, model: str, version: str, json_size: int | None, size: int) -> Templates:
        """For bodies of `size` bytes with a JSON part of `json_size`; None = all is JSON, of any size."""
        key = (model, version, json_size, 0 if json_size is None else size)
        known = self._templates.get(key)
        if known is None:
            if len(self._templates) >= _SHELF:
                self._templates.clear()
            known = self._templates[key] = Templates()
        return known
