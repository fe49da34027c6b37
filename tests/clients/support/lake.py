"""Reading a lake's tables with no server: the readers that people have, each in its own way."""

from pathlib import Path

READERS = ["deltalake", "polars", "duckdb", "daft"]


def table_path(lake: Path, table: str) -> Path:
    return Path(lake) / "tables" / table


def read(reader: str, lake: Path, table: str) -> list[dict]:
    """All rows of a table; no rows when nothing was ever flushed to it."""
    path = table_path(lake, table)
    if not (path / "_delta_log").exists():
        return []
    return {"deltalake": _deltalake, "polars": _polars, "duckdb": _duckdb, "daft": _daft}[reader](path)


def live_files(lake: Path, table: str) -> list[str]:
    from deltalake import DeltaTable

    return DeltaTable(str(table_path(lake, table))).file_uris()


def _deltalake(path: Path) -> list[dict]:
    from deltalake import DeltaTable

    return DeltaTable(str(path)).to_pyarrow_table().to_pylist()


def _polars(path: Path) -> list[dict]:
    import polars

    return polars.scan_delta(str(path)).collect().to_dicts()


def _duckdb(path: Path) -> list[dict]:
    """By DuckDB's delta extension, which a package of its own brings along."""
    from importlib.resources import files

    import duckdb

    (extension,) = Path(str(files("duckdb_extension_delta"))).rglob("delta.duckdb_extension")
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"LOAD '{extension}'")
    return connection.sql(f"SELECT * FROM delta_scan('{path}')").to_arrow_table().to_pylist()


def _daft(path: Path) -> list[dict]:
    """An engine that scales out to many machines; here it runs on this one."""
    import daft

    return daft.read_deltalake(str(path)).to_arrow().to_pylist()


def milliseconds(time) -> int:
    """A table's timestamp as MLflow's milliseconds: what is finer is cut off."""
    import datetime

    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return (time - datetime.datetime.fromtimestamp(0, datetime.UTC)) // datetime.timedelta(milliseconds=1)
