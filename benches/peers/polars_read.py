"""Reads all metric points of a lake into Polars: by ADBC from runlake, and as Flight from a server that makes nothing.

Usage: polars_read.py RUNLAKE NULL POINTS, with URLs as grpc://HOST:PORT. Prints a JSON list: points per second by ADBC,
points per second from the null server.
"""

import json
import sys
import time

import adbc_driver_flightsql.dbapi as flightsql
import polars as pl
import pyarrow.flight as flight

ROUNDS = 3


def by_adbc(url: str) -> pl.DataFrame:
    with flightsql.connect(url) as connection:
        return pl.read_database("SELECT * FROM metrics", connection)


def by_flight(url: str, points: int) -> pl.DataFrame:
    with flight.connect(url) as client:
        return pl.from_arrow(client.do_get(flight.Ticket(str(points))).read_all())


def best(read, points: int) -> float:
    rates = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        rows = read().height
        rates.append(rows / (time.perf_counter() - started))
        # The null server repeats messages until it has given enough.
        if rows < points:
            sys.exit(f"{points} points were written, and {rows} are read")
    return max(rates)


def main() -> None:
    ours, null, points = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print(json.dumps([best(lambda: by_adbc(ours), points), best(lambda: by_flight(null, points), points)]))


main()
