"""The servers that all tests share."""

import psycopg
import redis


def test_each_test_has_a_database_of_its_own(database_url: str, empty_database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(empty_database_url) as other:
        assert other.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_the_broker_answers_in_an_empty_database(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        assert broker.dbsize() == 0
        assert broker.config_get("appendonly") == {"appendonly": "yes"}
