"""Servers that are asked for their /metrics: real ones on this machine."""

from __future__ import annotations

import pytest

from fairdraft.errors import ReadingError, RestartError
from fairdraft.peers import scrape, servers
from fairdraft.peers.servers import Server, scrape_all
from tests.serving import plain, serving, speculating


def test_a_server_is_asked_twice() -> None:
    waited: list[float] = []
    with serving(speculating) as url:
        found = scrape(url, 5.0, waited.append)
    assert waited == [5.0]
    assert (found.rounds, found.source) == (200, url + "/metrics")
    assert found.step_time == pytest.approx(0.015)
    assert found.tokens_per_second is not None


def test_two_servers_are_asked_over_the_same_stretch() -> None:
    waited: list[float] = []
    with serving(speculating) as on, serving(plain) as off:
        found = scrape_all([on, off], 5.0, waited.append)
    assert waited == [5.0]
    assert [each.speculates for each in found] == [True, False]


def test_each_reading_begins_where_the_last_one_ended() -> None:
    with serving(lambda asked: speculating(asked * asked)) as url:
        server = Server(url)
        assert [server.read().rounds for _ in range(3)] == [600, 1000, 1400]


def test_a_restart_is_told_and_what_follows_counts_from_it() -> None:
    pages = [speculating(9), speculating(10), speculating(1), speculating(2)]
    with serving(lambda asked: pages[asked - 1]) as url:
        server = Server(url)
        assert server.read().rounds == 200
        with pytest.raises(RestartError, match="from 2000 to 200: the server was restarted"):
            server.read()
        assert server.read().rounds == 200


def test_after_a_page_that_failed_the_next_reading_covers_both_stretches() -> None:
    pages: list[str | int] = [speculating(1), 503, "hello", speculating(4)]
    with serving(lambda asked: pages[asked - 1]) as url:
        server = Server(url)
        with pytest.raises(ReadingError, match="answers 503"):
            server.read()
        with pytest.raises(ReadingError, match="no metrics page"):
            server.read()
        assert server.read().rounds == 600


def test_an_idle_server() -> None:
    with serving(lambda _: speculating(1)) as url:
        server = Server(url)
        with pytest.raises(ReadingError, match="nothing was drafted and nothing generated"):
            server.read()


def test_servers_that_do_not_answer() -> None:
    with serving(lambda asked: 404 if asked > 1 else speculating(1)) as url:
        for path in ("", "/nowhere", "/metrics/"):
            with pytest.raises(ReadingError, match="answers 404"):
                scrape(url + path, 1.0, lambda _: None)
    for wrong in (url, "http://", "http://[bad", "http://127.0.0.1:999999", "http://a:b"):
        with pytest.raises(ReadingError, match=r"cannot be reached|is no address"):
            scrape(wrong, 1.0, lambda _: None)
    with serving(lambda _: "hello") as url, pytest.raises(ReadingError, match="no metrics page"):
        scrape(url, 1.0, lambda _: None)
    with pytest.raises(ReadingError, match="wait more than 0"):
        scrape("http://127.0.0.1", 0)


def test_a_password_stays_out_of_names_and_errors() -> None:
    with serving(speculating) as url:
        secret = url.replace("http://", "http://me:hunter2@")
        assert Server(secret).name == url + "/metrics"
    with pytest.raises(ReadingError, match="cannot be reached") as error:
        Server(secret)
    assert "hunter2" not in str(error.value)


def test_a_page_without_an_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LARGEST", 1000)
    with (
        serving(lambda _: speculating(1) * 10) as url,
        pytest.raises(ReadingError, match="does not come to an end"),
    ):
        Server(url)
