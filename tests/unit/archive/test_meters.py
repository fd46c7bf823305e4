"""What is counted, and how it is told."""

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from leadglass.archive.condition import MEASURED
from leadglass.archive.meters import (
    BOUNDS,
    COUNTED,
    INSTANCES,
    RECEIVED,
    STRANGERS,
    Family,
    Kind,
    Meters,
    Sample,
)
from leadglass.servers.monitoring import exposition


def told(meters: Meters) -> dict[str, float]:
    text = exposition(meters.samples()).decode()
    return {
        each.name + "".join(each.labels.values()): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_counts_add_up_over_threads() -> None:
    meters = Meters()

    def work() -> None:
        for _ in range(2000):
            meters.count(STRANGERS)
            meters.count(RECEIVED, by=3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = told(meters)
    assert found["leadglass_strangers_total"] == 8000
    assert found["leadglass_received_bytes_total"] == 24000


def test_what_was_never_counted_is_zero_or_not_there() -> None:
    found = told(Meters())
    assert found["leadglass_strangers_total"] == 0
    assert not any(each.startswith(INSTANCES.name) for each in found)


@pytest.mark.parametrize(
    ("took_s", "bound"), [(0.0, 0.005), (0.005, 0.005), (0.3, 0.5), (60.0, 60.0)]
)
def test_a_request_is_in_its_bucket_and_all_above(took_s: float, bound: float) -> None:
    meters = Meters()
    meters.request("GET", "/studies", 404, 7, took_s)
    found = told(meters)
    assert found["leadglass_http_requests_totalGET/studies4xx"] == 1
    assert found["leadglass_http_sent_bytes_total"] == 7
    for each in BOUNDS:
        name = f"leadglass_http_request_seconds_bucket{each}"
        assert found[name] == (each >= bound), each
    assert found["leadglass_http_request_seconds_sum"] == took_s


def test_what_takes_longer_than_any_bound_counts_too() -> None:
    meters = Meters()
    meters.request("GET", "/", 0, 0, 61.0)
    found = told(meters)
    assert found[f"leadglass_http_request_seconds_bucket{BOUNDS[-1]}"] == 0
    assert found["leadglass_http_request_seconds_bucket+Inf"] == 1
    assert found["leadglass_http_requests_totalGET/none"] == 1


def test_labels_cannot_break_out() -> None:
    family = Family("a", Kind.GAUGE, "A.", ("b",))
    hostile = 'x"} 1\n# TYPE c counter\nc 2\\'
    text = exposition([Sample(family, (hostile,), 1)]).decode()
    [found] = text_string_to_metric_families(text)
    assert [each.labels["b"] for each in found.samples] == [hostile]


def test_names_are_as_prometheus_wants_them() -> None:
    families = [*COUNTED.values(), *MEASURED]
    assert len({each.name for each in families}) == len(families)
    for each in families:
        assert each.help.endswith((".", "; 1.", "or 0."))
        assert each.name.endswith("_total") == (each.kind is Kind.COUNTER)
