// How a file is shown, by its name.

export type Preview = "image" | "svg" | "text" | "code" | "csv" | "json" | "markdown" | "html" | "pdf" | "audio" | "video" | "parquet" | "arrow" | "none";

const BY_EXTENSION: Record<string, Preview> = {
  png: "image", jpg: "image", jpeg: "image", gif: "image", webp: "image", bmp: "image", avif: "image", ico: "image", svg: "svg",
  txt: "text", log: "text", err: "text", out: "text", cfg: "text", conf: "text", ini: "text", properties: "text", toml: "text", lock: "text", env: "text",
  py: "code", yaml: "code", yml: "code", sql: "code", js: "code", ts: "code", sh: "code", rs: "code", r: "code", ipynb: "json", xml: "code",
  csv: "csv", tsv: "csv", json: "json", jsonl: "text", geojson: "json", md: "markdown", rst: "text", html: "html", htm: "html", pdf: "pdf",
  mp3: "audio", wav: "audio", ogg: "audio", flac: "audio", m4a: "audio", mp4: "video", webm: "video", mov: "video", m4v: "video",
  parquet: "parquet", pq: "parquet", arrow: "arrow", feather: "arrow", ipc: "arrow",
};

export function extension(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot + 1).toLowerCase() : "";
}

export function previewOf(path: string): Preview {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name === "MLmodel" || name === "MLproject") return "code";
  if (name === "Dockerfile" || name === "requirements" || name === "LICENSE") return "text";
  return BY_EXTENSION[extension(path)] ?? "none";
}

/** Types that are safe to make a blob of: none that a browser would run in this origin. */
export const MEDIA_TYPES: Record<string, string> = {
  png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", bmp: "image/bmp", avif: "image/avif", ico: "image/x-icon",
  svg: "image/svg+xml", mp3: "audio/mpeg", wav: "audio/wav", ogg: "audio/ogg", flac: "audio/flac", m4a: "audio/mp4", mp4: "video/mp4", webm: "video/webm", mov: "video/quicktime", m4v: "video/mp4",
};

/** Beyond this a file is offered for download only. */
export const MOST_BYTES = 50e6;
export const MOST_TEXT = 2_000_000;
