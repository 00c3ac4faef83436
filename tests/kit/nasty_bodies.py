"""Bodies that are expensive to parse naively."""

JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"

# Functions of n that return bodies of n eighths of the size limit; of far less where each few bytes
# are a row.
NASTY = {
    "nested arrays": (JSON, lambda n: b"[" * 735_000 * n),
    "nested objects": (JSON, lambda n: b'{"a":' * 137_000 * n),
    "closed nested arrays": (JSON, lambda n: b"[" * 362_000 * n + b"]" * 362_000 * n),
    "many empty objects": (JSON, lambda n: b"[" + b"{}," * 2_000 * n + b"{}]"),
    "many numbers in a row": (JSON, lambda n: b'{"name":[' + b"1.5," * 25_000 * n + b"1]}"),
    "many members": (
        JSON,
        lambda n: b"{" + b",".join(b'"%d":1' % i for i in range(62_500 * n)) + b"}",
    ),
    "a number of megabytes": (JSON, lambda n: b'{"elevation_ft":' + b"9" * 625_000 * n + b"}"),
    "a fraction of megabytes": (JSON, lambda n: b'{"a":0.' + b"9" * 625_000 * n + b"}"),
    "half a string": (JSON, lambda n: b'{"name": "' + b"x" * 737_000 * n),
    "backslashes": (JSON, lambda n: b'{"name": "' + b"\\" * 737_000 * n),
    "half a quoted field": (CSV, lambda n: b'icao\n"' + b'""' * 362_000 * n),
    "commas": (CSV, lambda n: b"icao\n" + b"," * 737_000 * n),
    "a header of commas": (CSV, lambda n: b"," * 737_000 * n),
    "empty lines": (NDJSON, lambda n: b"\n" * 92_000 * n),
    "lines of brackets": (NDJSON, lambda n: b"[\n" * 2_800 * n),
    "invalid UTF-8": (JSON, lambda n: b'{"name": "' + b"\xff" * 625_000 * n + b'"}'),
}
