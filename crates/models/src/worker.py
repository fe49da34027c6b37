"""Scores batches for runlake in the model's own environment: one process, one batch at a time, over a Unix socket.

A message is two big-endian u32 lengths, a JSON header and a body. A header of a request says `mode`, `rows` (of each
request in the batch) and `params`; the body is an Arrow stream or JSON. A header of an answer has `sizes` and `ok` for
each request, and the body is their JSON texts, one after the other.
"""

import json
import os
import socket
import struct
import sys
import warnings

MOST_MESSAGE = 2000


def main(folder, address):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    stream = connection.makefile("rb")
    warnings.simplefilter("ignore")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model(folder)
        import numpy
        import pandas
        import pyarrow

        scorer = Scorer(model, numpy, pandas, pyarrow)
    except BaseException as error:  # noqa: BLE001  (also SystemExit of a model's own code)
        send(connection, {"ready": False, "problem": told(error)}, b"")
        raise
    send(connection, {"ready": True, "mlflow": mlflow.__version__, "python": sys.version.split()[0]}, b"")
    while True:
        lengths = stream.read(8)
        if len(lengths) < 8:
            return
        header_length, body_length = struct.unpack(">II", lengths)
        header = json.loads(stream.read(header_length))
        body = stream.read(body_length)
        if len(body) < body_length:
            return
        answers = scorer.answer(header, body)
        texts = [text.encode() for _, text in answers]
        send(connection, {"sizes": [len(text) for text in texts], "ok": [ok for ok, _ in answers]}, b"".join(texts))


def send(connection, header, body):
    header = json.dumps(header).encode()
    connection.sendall(struct.pack(">II", len(header), len(body)) + header)
    connection.sendall(body)


def told(error):
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text if len(text) <= MOST_MESSAGE else text[:MOST_MESSAGE] + "…"


class Scorer:
    def __init__(self, model, numpy, pandas, pyarrow):
        self.model, self.np, self.pd, self.pa = model, numpy, pandas, pyarrow

    def answer(self, header, body):
        """For each request of the batch whether it went well, and its JSON."""
        rows, params, bare = header["rows"], header["params"], header["bare"]
        try:
            data = self.input(header["mode"], body)
        except Exception as error:  # noqa: BLE001
            return [(False, told(error))] * len(rows)
        if len(rows) == 1:
            return [self.one(data, params, bare)]
        # Requests were put together: their answers are told apart by rows. If that cannot be, each is scored alone.
        try:
            predictions = self.predict(data, params)
            if self.length(predictions) == sum(rows):
                return [(True, self.text(part, bare)) for part in self.parts(predictions, rows)]
        except Exception:  # noqa: BLE001  (told to the request whose fault it is, below)
            pass
        return [self.one(part.reset_index(drop=True), params, bare) for part in self.parts(data, rows)]

    def one(self, data, params, bare):
        try:
            return True, self.text(self.predict(data, params), bare)
        except Exception as error:  # noqa: BLE001
            return False, told(error)

    def predict(self, data, params):
        # Models of older versions know no params.
        return self.model.predict(data, params=params) if params else self.model.predict(data)

    def input(self, mode, body):
        if mode == "plain":
            return json.loads(body)
        if mode == "arrays":
            return self.arrays(json.loads(body))
        batch = self.pa.ipc.open_stream(body).read_all()
        if mode == "tensors":
            return self.tensors(batch)
        return self.frame(batch)

    def frame(self, table):
        as_json = [field.name for field in table.schema if b"runlake.json" in (field.metadata or {})]
        frame = table.replace_schema_metadata(None).to_pandas()
        for place, field in enumerate(table.schema):
            if field.name in as_json:
                values = [json.loads(text) for text in table.column(place).to_pylist()]
                column = self.np.empty(len(values), dtype=object)
                column[:] = values
                frame.isetitem(place, column)
        if b"runlake.nameless" in (table.schema.metadata or {}):
            frame.columns = range(table.num_columns)
        return frame

    def tensors(self, table):
        found = {}
        for place, field in enumerate(table.schema):
            shape = json.loads(field.metadata[b"runlake.shape"])
            dtype = self.np.dtype(field.metadata[b"runlake.dtype"].decode()).newbyteorder("<")
            found[field.name] = self.np.frombuffer(table.column(place)[0].as_py(), dtype).reshape(shape).copy()
        return found[""] if list(found) == [""] else found

    def arrays(self, value):
        if isinstance(value, dict):
            return {key: self.np.array(item) for key, item in value.items()}
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return [self.arrays(item) for item in value]
        return self.np.array(value)

    def length(self, predictions):
        known = (self.np.ndarray, list, self.pd.DataFrame, self.pd.Series)
        if not isinstance(predictions, known) or getattr(predictions, "ndim", 1) == 0:
            return -1
        return len(predictions)

    def parts(self, whole, rows):
        start = 0
        for count in rows:
            part = slice(start, start + count)
            yield whole.iloc[part] if hasattr(whole, "iloc") else whole[part]
            start += count

    def text(self, predictions, bare):
        value = self.plain(predictions)
        return json.dumps(value if bare else {"predictions": value}, default=self.other)

    def plain(self, value):
        if isinstance(value, self.pd.DataFrame):
            return value.to_dict(orient="records")
        if isinstance(value, self.pd.Series):
            return value.to_frame().to_dict(orient="records") if value.name is not None else value.tolist()
        if isinstance(value, self.np.ndarray):
            return value.tolist()
        return value

    def other(self, value):
        np, pd = self.np, self.pd
        if isinstance(value, np.generic):
            return value.item() if not isinstance(value, np.datetime64) else str(value)
        if isinstance(value, (np.ndarray, pd.Series, pd.DataFrame)):
            return self.plain(value)
        if value is pd.NaT:
            return None
        if isinstance(value, (bytes, bytearray)):
            import base64

            return base64.b64encode(value).decode("ascii")
        if hasattr(value, "isoformat"):
            return value.isoformat()
        if hasattr(value, "model_dump"):
            return value.model_dump()
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"the model gave {type(value).__name__}, which is no JSON")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
