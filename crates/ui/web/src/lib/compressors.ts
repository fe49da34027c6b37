// Decompression of Parquet pages in plain JavaScript: the policy of the page allows no WebAssembly, which the package's own
// table brings for Snappy. Snappy itself is part of hyparquet.

import { decompress as zstd } from "fzstd";
import type { Compressors } from "hyparquet";
import { decompressBrotli } from "hyparquet-compressors/src/brotli.js";
import { gunzip } from "hyparquet-compressors/src/gzip.js";
import { decompressLz4, decompressLz4Raw } from "hyparquet-compressors/src/lz4.js";

export const compressors: Compressors = {
  ZSTD: (input) => zstd(input),
  GZIP: (input, length) => gunzip(input, new Uint8Array(length)),
  BROTLI: decompressBrotli,
  LZ4: decompressLz4,
  LZ4_RAW: decompressLz4Raw,
};
