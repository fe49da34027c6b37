"""Fills MLflow's own SQLite file with the runs the benchmark asks for, past its server.

Through its REST API this would take an hour. Usage: fill_mlflow.py DB RUNS POINTS, where RUNS runs get 10 metrics,
10 params and 5 tags each, the same as the ones the benchmark logs to runlake, and one more run gets POINTS points.
"""

import sqlite3
import sys

EXPERIMENT = 0
START = 1_700_000_000_000
WORDS = ["adam", "sgd", "lamb", "rmsprop", "adagrad"]


def run_id(number: int) -> str:
    return f"{number:032x}"


def main() -> None:
    path, runs, points = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA journal_mode = MEMORY")

    def run_row(number: int, name: str):
        return (run_id(number), name, "LOCAL", "", "", "bench", "FINISHED", START + number, START + number + 1000,
                "", "active", f"mlflow-artifacts:/{EXPERIMENT}/{run_id(number)}/artifacts", EXPERIMENT)

    db.executemany("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)",
                   (run_row(number, f"run-{number}") for number in range(runs)))
    # The very values `data.rs` makes, so that the answers can be compared.
    value = lambda number, metric: ((number * 7919 + metric * 104729) % 100_003) / 100_003
    db.executemany("INSERT INTO metrics VALUES (?,?,?,?,0,0)",
                   ((f"m{m}", value(n, m), START + n, run_id(n)) for n in range(runs) for m in range(10)))
    db.executemany("INSERT INTO latest_metrics VALUES (?,?,?,0,0,?)",
                   ((f"m{m}", value(n, m), START + n, run_id(n)) for n in range(runs) for m in range(10)))
    db.executemany("INSERT INTO params VALUES (?,?,?)",
                   ((f"p{p}", WORDS[(n + p) % 5] if p < 5 else str((n * 31 + p) % 1000), run_id(n))
                    for n in range(runs) for p in range(10)))
    db.executemany("INSERT INTO tags VALUES (?,?,?)",
                   ((f"t{t}", f"team-{(n + t) % 17}", run_id(n)) for n in range(runs) for t in range(5)))
    long = runs
    db.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)", run_row(long, "long"))
    db.executemany("INSERT INTO metrics VALUES ('loss',?,?,?,?,0)",
                   ((1.0 / (1 + step) + (step * 7919 % 1009) / 1009, START + step, run_id(long), step)
                    for step in range(points)))
    if points:
        db.execute("INSERT INTO latest_metrics VALUES ('loss',0.5,?,?,0,?)",
                   (START + points - 1, points - 1, run_id(long)))
    db.commit()


main()
