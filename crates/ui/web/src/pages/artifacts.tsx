import { useQuery } from "@tanstack/react-query";
import { Suspense, lazy, useEffect, useMemo, useRef, useState } from "react";
import { type ArtifactRoot, artifacts } from "../api/calls";
import type { FileInfo } from "../api/types";
import { MEDIA_TYPES, MOST_BYTES, MOST_TEXT, extension, previewOf } from "../lib/artifacts";
import { parseCsv } from "../lib/csv";
import { bytes, plural } from "../lib/format";
import { setSearch, useLocation } from "../router";
import { Grid, type GridColumn } from "../ui/Grid";
import { Icon } from "../ui/icons";
import { Button, CopyButton, Empty, ErrorNote, Skeleton } from "../ui/kit";
import { Markdown } from "../ui/markdown";

const Code = lazy(() => import("../ui/Code"));
const TableFile = lazy(() => import("../ui/TableFile"));
const Pdf = lazy(() => import("../ui/Pdf"));

const rootKey = (root: ArtifactRoot) => `${root.kind}:${root.id}`;

export function Artifacts({ root, empty }: { root: ArtifactRoot; empty: string }) {
  const { search } = useLocation();
  const path = search.get("path") ?? "";
  const top = useQuery({ queryKey: ["files", rootKey(root), ""], queryFn: () => artifacts.list(root, "") });
  if (top.error) {
    return (
      <div className="pad">
        <ErrorNote error={top.error} retry={() => void top.refetch()} />
      </div>
    );
  }
  if (!top.data) return <Skeleton />;
  if (top.data.length === 0) return <Empty title="No artifacts" code={empty} />;
  return (
    <div className="files">
      <nav aria-label="Files">
        <Folder root={root} path="" depth={0} current={path} />
      </nav>
      <div className="view">{path ? <Preview key={rootKey(root) + path} root={root} path={path} /> : <Empty title="Choose a file">
        <p>Images, texts, tables, HTML, PDF, audio and video are shown here; Parquet and Arrow as tables.</p>
      </Empty>}</div>
    </div>
  );
}

function Folder({ root, path, depth, current }: { root: ArtifactRoot; path: string; depth: number; current: string }) {
  const list = useQuery({ queryKey: ["files", rootKey(root), path], queryFn: () => artifacts.list(root, path), meta: { live: false } });
  if (list.error) return <ErrorNote error={list.error} />;
  if (!list.data) return <div className="faint" style={{ paddingLeft: 10 + depth * 14 }}>…</div>;
  const sorted = [...list.data].sort((a, b) => Number(b.is_dir) - Number(a.is_dir) || a.path.localeCompare(b.path));
  return (
    <>
      {sorted.map((file) => (
        <Entry key={file.path} root={root} file={full(path, file)} depth={depth} current={current} />
      ))}
    </>
  );
}

/** Some lists name files by their last part only. */
function full(folder: string, file: FileInfo): FileInfo {
  return folder && !file.path.startsWith(`${folder}/`) ? { ...file, path: `${folder}/${file.path}` } : file;
}

function Entry({ root, file, depth, current }: { root: ArtifactRoot; file: FileInfo; depth: number; current: string }) {
  const [open, setOpen] = useState(() => file.is_dir && current.startsWith(`${file.path}/`));
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  return (
    <>
      <button
        type="button"
        className="file"
        style={{ paddingLeft: 6 + depth * 14 }}
        aria-current={file.path === current ? "true" : undefined}
        aria-expanded={file.is_dir ? open : undefined}
        onClick={() => (file.is_dir ? setOpen(!open) : setSearch({ path: file.path }, { push: true }))}
      >
        {file.is_dir ? <Icon name={open ? "down" : "chevron"} size={11} /> : <span style={{ width: 11 }} />}
        <Icon name={file.is_dir ? "folder" : "file"} />
        <span className="cut">{name}</span>
        {file.file_size !== undefined && <span className="size num">{bytes(file.file_size)}</span>}
      </button>
      {open && <Folder root={root} path={file.path} depth={depth + 1} current={current} />}
    </>
  );
}

function Preview({ root, path }: { root: ArtifactRoot; path: string }) {
  const kind = previewOf(path);
  const href = artifacts.url(root, path);
  const [raw, setRaw] = useState(false);
  const file = useQuery({
    queryKey: ["file", rootKey(root), path],
    enabled: kind !== "none" || raw,
    staleTime: Infinity,
    gcTime: 60_000,
    meta: { live: false },
    queryFn: async ({ signal }) => {
      const response = await artifacts.read(root, path, signal);
      const size = Number(response.headers.get("content-length") ?? 0);
      if (size > MOST_BYTES) {
        await response.body?.cancel();
        return null;
      }
      return new Uint8Array(await response.arrayBuffer());
    },
  });
  const name = path.slice(path.lastIndexOf("/") + 1);
  return (
    <>
      <header>
        <b className="cut" title={path}>
          {name}
        </b>
        <span className="faint num">{file.data ? bytes(file.data.length) : ""}</span>
        <span className="grow" />
        <CopyButton text={path} what="path" />
        <a className="btn small" href={href} download={name}>
          <Icon name="download" /> Download
        </a>
      </header>
      <div className="preview" tabIndex={0} role="region" aria-label={`Preview of ${name}`}>
        {file.error ? (
          <div className="pad">
            <ErrorNote error={file.error} retry={() => void file.refetch()} />
          </div>
        ) : kind === "none" && !raw ? (
          <Empty title="There is no preview of this kind of file">
            <p className="row" style={{ justifyContent: "center" }}>
              <a className="btn" href={href} download={name}>
                Download
              </a>
              <Button onClick={() => setRaw(true)}>Show as text</Button>
            </p>
          </Empty>
        ) : file.data === undefined ? (
          <Skeleton />
        ) : file.data === null ? (
          <Empty title="The file is large">
            <p>Files over {bytes(MOST_BYTES)} are not shown here. Download it instead.</p>
          </Empty>
        ) : (
          <Suspense fallback={<Skeleton />}>
            <Shown kind={raw ? "text" : kind} path={path} data={file.data} />
          </Suspense>
        )}
      </div>
    </>
  );
}

function Shown({ kind, path, data }: { kind: ReturnType<typeof previewOf>; path: string; data: Uint8Array<ArrayBuffer> }) {
  const text = useMemo(() => (["text", "code", "csv", "json", "markdown", "html"].includes(kind) ? new TextDecoder().decode(data.subarray(0, MOST_TEXT)) : ""), [kind, data]);
  const cut = data.length > MOST_TEXT && text !== "";
  const note = cut ? <div className="note info">The first {bytes(MOST_TEXT)} are shown. Download the file for the rest.</div> : null;
  switch (kind) {
    case "image":
    case "svg":
      return <Media path={path} data={data} kind="image" />;
    case "audio":
    case "video":
      return <Media path={path} data={data} kind={kind} />;
    case "csv":
      return <Csv text={text} separator={extension(path) === "tsv" ? "\t" : ","} />;
    case "json":
      return <Json text={text} path={path} />;
    case "markdown":
      return (
        <div className="pad">
          {note}
          <Markdown text={text} />
        </div>
      );
    case "html":
      return <Html html={text} />;
    case "pdf":
      return <Pdf data={data} />;
    case "parquet":
    case "arrow":
      return <TableFile data={data} kind={kind} />;
    default:
      return (
        <>
          {note}
          <Code text={text} language={extension(path) || path.slice(path.lastIndexOf("/") + 1)} />
        </>
      );
  }
}

function Media({ path, data, kind }: { path: string; data: Uint8Array<ArrayBuffer>; kind: "image" | "audio" | "video" }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([data], { type: MEDIA_TYPES[extension(path)] ?? "application/octet-stream" }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [path, data]);
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (!url) return null;
  // A picture that is an SVG runs no scripts and loads nothing within <img>.
  if (kind === "image") {
    return (
      <div className="image">
        <img src={url} alt={name} />
      </div>
    );
  }
  return <div className="media">{kind === "audio" ? <audio src={url} controls aria-label={name} /> : <video src={url} controls aria-label={name} />}</div>;
}

/** A page that a run logged: in an origin of its own, its scripts asleep until somebody wakes them. */
function Html({ html }: { html: string }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [scripts, setScripts] = useState(false);
  useEffect(() => {
    const ready = (event: MessageEvent) => {
      if (event.source === frame.current?.contentWindow && event.data === "ready") frame.current?.contentWindow?.postMessage({ html, scripts }, "*");
    };
    addEventListener("message", ready);
    return () => removeEventListener("message", ready);
  }, [html, scripts]);
  return (
    <>
      <div className="row" style={{ padding: "6px 14px", borderBottom: "1px solid var(--line)" }}>
        <span className="soft grow">{scripts ? "Its scripts run in an origin of their own, without network." : "Its scripts are off."}</span>
        <Button small icon={scripts ? "stop" : "play"} onClick={() => setScripts(!scripts)}>
          {scripts ? "Without scripts" : "Run its scripts"}
        </Button>
      </div>
      <iframe key={String(scripts)} ref={frame} src="/frame.html" sandbox="allow-scripts" title="The page" referrerPolicy="no-referrer" />
    </>
  );
}

function Csv({ text, separator }: { text: string; separator: string }) {
  const rows = useMemo(() => parseCsv(text, separator, 100_000), [text, separator]);
  const head = rows[0] ?? [];
  return <Sheet head={head.map((name) => ({ name, numeric: rows.slice(1, 20).every((row) => row[head.indexOf(name)] === "" || !Number.isNaN(Number(row[head.indexOf(name)]))) }))} count={rows.length - 1} get={(row, col) => rows[row + 1]?.[col] ?? ""} />;
}

/** Rows and columns of any table. */
export function Sheet({ head, count: rows, get, note }: { head: { name: string; type?: string; numeric?: boolean }[]; count: number; get: (row: number, col: number) => unknown; note?: string }) {
  const [widths, setWidths] = useState<Record<string, number>>({});
  // As wide as the first rows want, within reason.
  const wanted = useMemo(
    () =>
      head.map(({ name, type }, col) => {
        let longest = name.length + (type ? type.length + 2 : 0);
        for (let row = 0; row < Math.min(rows, 60); row++) longest = Math.max(longest, String(get(row, col) ?? "").length);
        return Math.round(Math.min(360, Math.max(72, longest * 7.2 + 30)));
      }),
    // eslint-disable-next-line
    [head, rows > 60, get],
  );
  const columns = useMemo<GridColumn[]>(
    () => [
      { id: "#", label: "", width: 62, pinned: true, fixed: true, numeric: true },
      ...head.map(({ name, type, numeric }, i) => ({ id: String(i), label: type ? `${name} · ${type}` : name, width: widths[String(i)] ?? wanted[i]!, numeric })),
    ],
    [head, widths, wanted],
  );
  return (
    <>
      <Grid
        label="Table"
        count={Math.max(0, rows)}
        columns={columns}
        rowHeight={28}
        onResize={(id, width) => setWidths((before) => ({ ...before, [id]: width }))}
        cell={(row, column) => {
          if (column.id === "#") return <span className="faint num">{row + 1}</span>;
          const value = get(row, Number(column.id));
          return value === null || value === undefined ? <span className="faint">null</span> : String(value).slice(0, 500);
        }}
        hint={(row, column) => (column.id === "#" ? null : String(get(row, Number(column.id)) ?? "null").slice(0, 2000))}
        version={get}
      />
      <div className="statusbar">
        <span className="num">
          {plural(Math.max(0, rows), "row")}, {plural(head.length, "column")}
        </span>
        {note && <span>{note}</span>}
      </div>
    </>
  );
}

function Json({ text, path }: { text: string; path: string }) {
  const value = useMemo(() => {
    try {
      return { ok: JSON.parse(text) as unknown };
    } catch {
      return null;
    }
  }, [text]);
  if (!value) return <Code text={text} language={extension(path)} />;
  return (
    <div className="json">
      <JsonNode value={value.ok} depth={0} />
    </div>
  );
}

function JsonNode({ name, value, depth }: { name?: string; value: unknown; depth: number }) {
  const label = name !== undefined && (
    <>
      <span className="k">{name}</span>:{" "}
    </>
  );
  if (value === null || typeof value !== "object") {
    return (
      <div>
        {label}
        <span className={typeof value === "string" ? "s" : "n"}>{JSON.stringify(value)}</span>
      </div>
    );
  }
  const entries = Object.entries(value);
  const [from, to] = Array.isArray(value) ? "[]" : "{}";
  if (entries.length === 0) {
    return (
      <div>
        {label}
        {from}
        {to}
      </div>
    );
  }
  return (
    <details open={depth < 3 && entries.length < 200}>
      <summary>
        {label}
        {from} <span className="faint">{entries.length}</span> {to}
      </summary>
      <div>
        {entries.slice(0, 1000).map(([key, inner]) => (
          <JsonNode key={key} name={key} value={inner} depth={depth + 1} />
        ))}
        {entries.length > 1000 && <span className="faint">and {entries.length - 1000} more</span>}
      </div>
    </details>
  );
}
