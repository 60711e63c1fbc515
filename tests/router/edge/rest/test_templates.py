"""The quick ways of the infer route against the general one, which every first request takes."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
import pytest

from router.edge.rest.decode import Asked, Wanted, asked_of
from router.edge.rest.templates import Shelf
from tests.router.edge.rest.rig import Caller, FakeWorker, Job, make_core, model, tensor

PATH = "/v2/models/m/infer"


def served(body: Callable[[Caller, FakeWorker], Awaitable[None]], on_job: Callable[[Job], None] = Job.echo) -> None:
    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, model("m", [tensor("x", "FP32", 2), tensor("n", "INT64", 1)]), on_job=on_job)
        await body(Caller(core), worker)

    asyncio.run(run())


def document(x: Any = (1, 2), n: Any = (3,), **others: Any) -> dict[str, Any]:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": x},
        {"name": "n", "datatype": "INT64", "shape": [1, 1], "data": n},
    ]
    return {"inputs": inputs} | others


def plan_of(caller: Caller) -> Any:
    """The plan of the one infer request head that was sent."""
    plans = [head.plan.infer for head in caller._front.heads._known.values() if head.plan and head.plan.infer]
    assert len(plans) == 1
    return plans[0]


def made_of(caller: Caller) -> Any:
    """The one template of a JSON request."""
    (template,) = plan_of(caller).templates._json.values()
    return template


def test_the_second_request_is_as_right_as_the_first() -> None:
    """JSON, the same form with other values: the message and the answer have these, and the template is used."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        first = await caller.post(PATH, document())
        template = made_of(caller)
        for number in (5, 6, 7):
            answer = await caller.post(PATH, document([number, 8], [9]))
            assert answer.json["outputs"][0]["data"] == [number, 8.0]
            assert answer.json["outputs"][1]["data"] == [9]
            assert worker.last is not None
            assert worker.last.array(0).tolist() == [[number, 8]]
            assert answer.headers.keys() == first.headers.keys()
        assert made_of(caller) is template

    served(body)


def test_nested_and_flat_values_fit_the_same_template() -> None:
    """Values are read by the rules of the general way."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        for x in ([1, 2], [[1, 2]], [[1], [2]], ["1", 2], [1], [1, None]):
            fresh = await Caller(caller.core).post(PATH, document(x))
            answer = await caller.post(PATH, document(x))
            assert (answer.status, answer.json) == (fresh.status, fresh.json)

    served(body)


VARIATIONS: list[dict[str, Any]] = [
    document(id="7"),
    document(id=7),
    document(parameters={"p": 1}),
    document(parameters={"p": 1.0}),
    document(parameters={"p": True}),
    document(parameters={"binary_data_output": True}),
    document(outputs=[{"name": "n"}]),
    document(outputs=[{"name": "n", "parameters": {"binary_data": True}}]),
    {"inputs": document()["inputs"][:1]},
    {"inputs": document()["inputs"][::-1]},
    {"inputs": [document()["inputs"][0] | {"shape": [1.0, 2]}]},
    {"inputs": [document()["inputs"][0] | {"shape": [True, 2]}]},
    {"inputs": [document()["inputs"][0] | {"shape": [2, 1]}]},
    {"inputs": [document()["inputs"][0] | {"datatype": "FP64"}]},
    {"inputs": [document()["inputs"][0] | {"datatype": "BYTES", "data": ["a", "b"]}]},
    {"inputs": [document()["inputs"][0] | {"parameters": {"p": "q"}}]},
    {"inputs": [document()["inputs"][0] | {"extra": 1}]},
    {"inputs": []},
    {"inputs": 1},
    {"inputs": [1]},
    {},
]


def test_a_request_of_another_form_is_not_taken_for_a_known_one() -> None:
    """Whatever follows whatever, with equal heads: the message and the answer are those of a caller without a past."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        for before in VARIATIONS:
            for after in VARIATIONS:
                padded = [orjson.dumps(one).ljust(300) for one in (before, after)]
                caller = Caller(caller.core)
                await caller.post(PATH, padded[0])
                worker.last = None
                answer = await caller.post(PATH, padded[1])
                quick = worker.last
                worker.last = None
                fresh = await Caller(caller.core).post(PATH, padded[1])
                general = worker.last
                assert (answer.status, answer.body) == (fresh.status, fresh.body), (before, after)
                assert (quick and quick.request) == (general and general.request)

    served(body)


FORMS = {
    "FP32": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":%s}]}',
    "first": b'{"inputs":[{"data":%s,"shape":[1,2],"datatype":"FP32","name":"x"}],"id":"data"}',
    "spaced": b' {"inputs" : [ {"name":"x" , "datatype":"FP32","shape":[1,2], "data" : %s ,"parameters":{"a":"[]" }}]}',
    "named": b'{"id":"data","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":%s}]}',
    "escaped": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"d\\u0061ta":%s}]}',
    "twice": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[5,6],"data":%s}]}',
    "two": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":%s},'
    b'{"name":"n","datatype":"INT64","shape":[1],"data":[4]}]}',
    **{
        kind: b'{"inputs":[{"name":"x","datatype":"%s","shape":[2],"data":%%s}]}' % kind.encode()
        for kind in ("FP64", "FP16", "BF16", "INT8", "UINT64", "BOOL", "BYTES")
    },
}
ARRAYS = [
    b"[1,2]", b"[1.5,-2]", b"[ 3 ,\n4 ]", b"[[1,2]]", b"[[1],[2]]", b"[true,false]", b'["a","b"]', b'["1","2"]',
    b"[1]", b"[1,2,3]", b"[]", b"[1,null]", b'["NaN",1]', b"[NaN,1]", b"[1,1e39]", b"[1,1e400]", b"[300,1]", b"[-1,1]",
    b"[1,18446744073709551615]", b"[1,1e5]", b"[1,2", b"1,2]", b"[1,2]]", b"[1,,2]", b"", b"null", b"7",
    b'[1,2],"datatype":"INT64","data":[3,4]', b'[1,2],"shape":[2,1]', b'[1,2]}],"outputs":[{"name":"n"', b'["\xff",1]',
    b"[" * 200 + b"]" * 200, b'[1,2],"data":[[3,4]]',
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_only_the_array_differs(form: str) -> None:
    """Whatever stands in the place of an array, be it none, or the end of the document and more: the message and the
    answer are those of a caller without a past."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        texts = [FORMS[form] % array for array in ARRAYS] + [FORMS[form][:-9], FORMS["FP32"] % b"[8,9]"]
        for first in (b"[1,2]", b"[true,true]"):
            caller = Caller(caller.core)
            await caller.post(PATH, FORMS[form] % first)
            for text in texts:
                worker.last = None
                answer = await caller.post(PATH, text)
                quick = worker.last
                worker.last = None
                fresh = await Caller(caller.core).post(PATH, text)
                general = worker.last
                assert (answer.status, answer.body) == (fresh.status, fresh.body), text
                assert (quick and quick.request) == (general and general.request), text

    served(body)


@pytest.mark.parametrize("form", ["FP32", "first", "spaced", "FP64", "FP16", "INT8", "UINT64"])
def test_of_a_known_text_only_the_array_is_parsed(form: str) -> None:
    """The quick way gives the message; what it is not sure of it leaves to the general one."""
    text, shelf = FORMS[form] % b"[1,2]", Shelf()
    document = orjson.loads(text)
    templates = shelf.templates("m", "", None, 0)
    templates.keep_json(text, document, asked_of(document, memoryview(b""), "m", ""))
    known = templates.text
    assert known is not None
    asked = asked_of(orjson.loads(FORMS[form] % b"[3,4]"), memoryview(b""), "m", "")
    assert known.message(FORMS[form] % b"[3, 4]", 100, 10_000) == asked.message(10_000)
    for array in (b"[3]", b"[3,true]", b'[3,""]', b"[[3,4]]", b'[3,4],"data":[5,6]'):
        assert known.message(FORMS[form] % array, 100, 10_000) is None
    assert known.message(FORMS[form] % b"[3,4]", 3, 10_000) is None
    assert known.message(FORMS[form] % b"[3,4]", 100, 10) is None
    assert known.message(text[:-9], 100, 10_000) is None


@pytest.mark.parametrize("form", ["named", "escaped", "twice", "two", "BOOL", "BF16", "BYTES"])
def test_texts_that_are_not_so_plain_have_no_short_cut(form: str) -> None:
    """Where the array cannot be told from the rest, or is packed in another way."""
    text = FORMS[form] % (b'["a","b"]' if form == "BYTES" else b"[true,true]" if form == "BOOL" else b"[1,2]")
    templates = Shelf().templates("m", "", None, 0)
    document = orjson.loads(text)
    assert templates.keep_json(text, document, asked_of(document, memoryview(b""), "m", "")) is not None
    assert (templates.text is None) is (form != "BOOL")


def binary(x: bytes, n: bytes, pad: int = 0, **others: Any) -> tuple[bytes, str]:
    inputs = document()["inputs"]
    for one, raw in zip(inputs, (x, n), strict=True):
        del one["data"]
        one["parameters"] = {"binary_data_size": len(raw)}
    text = orjson.dumps({"inputs": inputs} | others).ljust(pad)
    return text + x + n, str(len(text))


def test_binary_requests_of_one_form() -> None:
    """Two tensors behind the JSON, other values each time, binary and JSON answers."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        for wanted in (True, False):
            caller = Caller(caller.core)
            for number in range(4):
                x, n = struct.pack("<2f", number, 0.5), struct.pack("<q", -number)
                sent, size = binary(x, n, parameters={"binary_data_output": wanted})
                answer = await caller.post(PATH, sent, inference_header_content_length=size)
                assert worker.last is not None
                assert worker.last.request.raw_input_contents == [x, n]
                if wanted:
                    assert answer.binary()[1] == x + n
                else:
                    assert [one["data"] for one in answer.json["outputs"]] == [[number, 0.5], [-number]]
            assert plan_of(caller).templates.binary.message(sent, 1000) is not None

    served(body)


def test_binary_requests_that_differ_in_their_json_alone() -> None:
    """The same head, the same lengths, another name: it is read anew."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        for name in ("a", "b", "a"):
            sent, size = binary(bytes(8), bytes(8), id=name)
            answer = await caller.post(PATH, sent, inference_header_content_length=size)
            assert answer.json["id"] == name

    served(body)


ANSWERS: list[Callable[[Job], None]] = [
    lambda job: job.reply(y=("FP32", [[1.5, 2.5]])),
    lambda job: job.reply(y=("FP32", [[3.5, float("nan")]])),
    lambda job: job.reply(y=("FP32", [[float("inf"), 0.25]])),
    lambda job: job.reply(y=("FP32", [[1.5], [2.5]])),
    lambda job: job.reply(z=("FP32", [[1.5, 2.5]])),
    lambda job: job.reply(y=("INT32", [[1, 2]])),
    lambda job: job.reply(y=("BYTES", np.array(["ab", "cd"], object))),
    lambda job: job.reply(y=("BYTES", np.array(["a", "bcd"], object))),
    lambda job: job.reply(y=("FP32", [1.5]), z=("FP32", [2.5])),
    lambda job: job.reply(z=("FP32", [1.5]), y=("FP32", [2.5])),
    lambda job: job.reply(),
]


@pytest.mark.parametrize("as_binary", [False, True])
def test_an_answer_of_another_form_is_not_taken_for_a_known_one(as_binary: bool) -> None:
    """Whatever follows whatever: other shapes, names, datatypes, lengths of text, and values JSON cannot say."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        for before in ANSWERS:
            for after in ANSWERS:
                caller = Caller(caller.core)
                sent = document(parameters={"binary_data_output": as_binary})
                for kind in (before, before, after):
                    worker.on_job = kind
                    answer = await caller.post(PATH, sent)
                fresh = await Caller(caller.core).post(PATH, sent)
                same = {
                    name: answer.headers.get(name) for name in fresh.headers if name not in ("x-request-id", "date")
                }
                assert (answer.body, same.items() <= fresh.headers.items()) == (fresh.body, True)

    served(body)


def test_a_client_that_numbers_its_requests_does_not_cost_more_and_more() -> None:
    """Templates that never fit are left off, nearly."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        made = set()
        for number in range(200):
            answer = await caller.post(PATH, document(id=f"{number:06}"))
            assert answer.json["id"] == f"{number:06}"
            made |= set(map(id, plan_of(caller).templates._json.values()))
        assert len(made) < 30

    served(body)


def test_ids_that_are_unfit_are_made_anew_for_each_request() -> None:
    """A head that is remembered does not fix what must differ."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        ids = [(await caller.post(PATH, document(), x_request_id="a b")).headers["x-request-id"] for _ in range(3)]
        ids += [(await caller.post(PATH, document())).headers["x-request-id"] for _ in range(3)]
        assert len(set(ids)) == 6
        ids = [(await caller.post(PATH, document(), x_request_id="ab")).headers["x-request-id"] for _ in range(3)]
        assert set(ids) == {"ab"}

    served(body)


def test_heads_that_all_differ_share_templates() -> None:
    """A proxy that numbers requests, or a trace id, costs the reading of the head and nothing more."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        for number in range(20):
            answer = await caller.post(PATH, document([number, 8]), x_request_id=f"r-{number:04}")
            assert answer.json["outputs"][0]["data"] == [number, 8.0]
            assert answer.headers["x-request-id"] == f"r-{number:04}"
        plans = [head.plan.infer for head in caller._front.heads._known.values()]
        assert len(plans) == 20
        assert len({id(plan.templates) for plan in plans}) == 1
        assert len(plans[0].templates._json) == 1

    served(body)


def test_what_is_kept_is_bounded() -> None:
    """Models, sizes and forms without end take the place of a few hundred."""
    shelf = Shelf()
    for number in range(1000):
        templates = shelf.templates("m", str(number), 10, number)
        assert len(shelf._templates) <= 256
    for number in range(100_000):
        bare = {"inputs": [{"name": f"x{number}", "data": [1], "datatype": "FP32", "shape": [1]}]}
        templates.keep_json(orjson.dumps(bare), bare, Asked(b"", [], Wanted()))
        assert len(templates._json) <= 16
    assert templates.keep_binary(b"x" * 5000, 6000, Asked(b"", [], Wanted())) is None
