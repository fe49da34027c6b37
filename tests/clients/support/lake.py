"""Reading a lake's tables with no server: the readers that people have, each in its own way."""

from pathlib import Path

READERS = ["deltalake", "polars", "duckdb"]


def table_path(lake: Path, table: str) -> Path:
    return Path(lake) / "tables" / table


def read(reader: str, lake: Path, table: str) -> list[dict]:
    """All rows of a table; no rows when nothing was ever flushed to it."""
    path = table_path(lake, table)
    if not (path / "_delta_log").exists():
        return []
    return {"deltalake": _deltalake, "polars": _polars, "duckdb": _duckdb}[reader](path)


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
    """By DuckDB's delta extension where somebody installed it (it is not bundled), or else by its Parquet reader."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET autoinstall_known_extensions = false")
    try:
        connection.execute("LOAD delta")
        relation = connection.sql(f"SELECT * FROM delta_scan('{path}')")
    except duckdb.Error:
        files = [uri.removeprefix("file://") for uri in live_files(path.parent.parent, path.name)]
        if not files:
            return []
        relation = connection.read_parquet(files)
    return relation.to_arrow_table().to_pylist()


def milliseconds(time) -> int:
    """A table's timestamp as MLflow's milliseconds: what is finer is cut off."""
    import datetime

    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return (time - datetime.datetime.fromtimestamp(0, datetime.UTC)) // datetime.timedelta(milliseconds=1)
