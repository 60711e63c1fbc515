from protos import inference_pb2, model_config_pb2
from router.edge.rest.plain import plain


def test_numbers_are_numbers_and_defaults_are_there() -> None:
    """Unlike protobuf's own JSON form: 64-bit integers are not texts, zero is not left out."""
    statistics = inference_pb2.ModelStatistics(name="m", inference_count=2**60)
    statistics.inference_stats.success.count = 3
    document = plain(statistics)
    assert document["inference_count"] == 2**60
    assert document["execution_count"] == 0
    assert document["batch_stats"] == []
    assert document["inference_stats"] == {"success": {"count": 3, "ns": 0}}


def test_maps_enums_and_oneofs() -> None:
    """A map is an object, an enum its name, an unset oneof member is left out."""
    config = model_config_pb2.ModelConfig(name="m")
    config.input.add(name="x", data_type="TYPE_FP32", dims=[-1, 3])
    config.parameters["k"].string_value = "v"
    document = plain(config)
    assert document["input"][0]["data_type"] == "TYPE_FP32"
    assert document["input"][0]["dims"] == [-1, 3]
    assert document["parameters"] == {"k": {"string_value": "v"}}
    assert "dynamic_batching" not in document


def test_unknown_enum_value_stays_a_number() -> None:
    """A newer worker may know more than this router."""
    config = model_config_pb2.ModelConfig.FromString(b"\x2a\x02\x10\x63")  # input {data_type: 99}
    assert plain(config)["input"][0]["data_type"] == 99
