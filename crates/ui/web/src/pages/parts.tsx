// Parts that the pages of runs, models, versions and logged models have in common.

import type { UseQueryResult } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { count, fixed } from "../lib/format";
import { Link } from "../router";
import { Badge, Button, ErrorNote, Skeleton, Snippet, Tabs } from "../ui/kit";
import { Markdown } from "../ui/markdown";
import { SearchBox, Tags } from "./shared";

/** A framed part of a page. `bare`: what is inside brings its own distances, as tables do. */
export function Card({ title, n, actions, bare, children }: { title: string; n?: number; actions?: ReactNode; bare?: boolean; children: ReactNode }) {
  return (
    <section className="card">
      <header>
        <h2>{title}</h2>
        {n !== undefined && <span className="badge">{n}</span>}
        {actions && (
          <>
            <span className="grow" />
            {actions}
          </>
        )}
      </header>
      {bare ? children : <div className="body">{children}</div>}
    </section>
  );
}

/** Two columns of cards, the second for what is short. */
export function TwoColumns({ wide, narrow }: { wide: ReactNode; narrow: ReactNode }) {
  return (
    <div className="two">
      <div className="stack" style={{ gap: 16 }}>
        {wide}
      </div>
      <div className="stack" style={{ gap: 16 }}>
        {narrow}
      </div>
    </div>
  );
}

/** The name of what the page is about, with what is most worth knowing, above its tabs. */
export function Head({ title, lead, children, ...tabs }: { title: string; lead?: ReactNode; children?: ReactNode } & Parameters<typeof Tabs>[0]) {
  return (
    <>
      <div className="runhead">
        {lead}
        <h1 className="cut">{title}</h1>
        {children}
      </div>
      <Tabs {...tabs} />
    </>
  );
}

/** What stands there until an answer does, or why none came. */
export function Waiting({ query }: { query: Pick<UseQueryResult, "error" | "refetch"> }) {
  if (!query.error) return <Skeleton />;
  return (
    <div className="pad">
      <ErrorNote error={query.error} retry={() => void query.refetch()} />
    </div>
  );
}

export function TextCard({ title, text, none, onEdit }: { title: string; text: string | undefined; none: string; onEdit: () => void }) {
  const edit = (
    <Button small kind="quiet" icon="edit" onClick={onEdit}>
      Edit
    </Button>
  );
  return (
    <Card title={title} actions={edit}>
      {text ? <Markdown text={text} /> : <span className="faint">{none}</span>}
    </Card>
  );
}

/** Tags that can be changed, each through a call of its own, and then `changed`. MLflow's own are left out. */
export function TagsCard({ tags, set, remove, changed }: { tags: Record<string, string>; set: (key: string, value: string) => Promise<unknown>; remove: (key: string) => Promise<unknown>; changed: () => Promise<unknown> }) {
  return (
    <Card title="Tags">
      <Tags
        tags={Object.fromEntries(Object.entries(tags).filter(([key]) => !key.startsWith("mlflow.")))}
        onSet={async (key, value) => (await set(key, value), await changed())}
        onDelete={async (key) => (await remove(key), await changed())}
      />
    </Card>
  );
}

export function PythonCard({ code }: { code: string }) {
  return (
    <Card title="Use it in Python">
      <Snippet code={python(code)} />
    </Card>
  );
}

/** Lines of Python after those that say where the server is. */
export function python(code: string): string {
  return `import mlflow\nmlflow.set_tracking_uri("${location.origin}")\n${code}`;
}

/** What is longer fills the page: its beginning is shown, and the rest when it is asked for. */
const LONG = 400;

export function Value({ text }: { text: string }) {
  const [all, setAll] = useState(false);
  if (text.length <= LONG) return text;
  return (
    <>
      {all ? text : `${text.slice(0, LONG)}… `}
      <Button small kind="quiet" onClick={() => setAll(!all)}>
        {all ? "Show less" : `Show all ${count(text.length)} characters`}
      </Button>
    </>
  );
}

export interface Pair {
  name: string;
  value: string | number;
  badge?: string;
}

const MANY = 12;
const MOST = 500;

/** Params or metrics: a table with a search when it is long. */
export function Pairs({ title, values, none = "None were logged.", href }: { title: string; values: Record<string, string | number> | readonly Pair[]; none?: string; href?: string }) {
  const [text, setText] = useState("");
  const all: readonly Pair[] = Array.isArray(values)
    ? (values as readonly Pair[])
    : Object.entries(values as Record<string, string | number>).map(([name, value]) => ({ name, value })).sort((a, b) => a.name.localeCompare(b.name));
  const list = all.filter(({ name, value }) => `${name} ${value}`.toLowerCase().includes(text.toLowerCase()));
  const actions = (
    <>
      {all.length > MANY && (
        <div style={{ width: 200 }}>
          <SearchBox value={text} onChange={setText} placeholder={`Search ${title.toLowerCase()}`} search={false} />
        </div>
      )}
      {href && all.length > 0 && (
        <Link className="btn small" href={href}>
          Charts
        </Link>
      )}
    </>
  );
  return (
    <Card title={title} n={all.length} actions={actions} bare>
      {all.length === 0 ? (
        <div className="body faint">{none}</div>
      ) : (
        <table className="kv">
          <tbody>
            {list.slice(0, MOST).map(({ name, value, badge }, i) => (
              <tr key={i}>
                <th scope="row">
                  {name} {badge && <Badge>{badge}</Badge>}
                </th>
                <td title={String(value).slice(0, LONG)}>{typeof value === "number" ? fixed(value) : <Value text={value} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {list.length > MOST && <div className="body faint">and {list.length - MOST} more: search for them.</div>}
    </Card>
  );
}

export interface DiffPart {
  name: string;
  rows: { key: string; values: (string | number | null)[]; differs: boolean }[];
}

/** Things side by side: a column for each, rows in parts, what differs marked. */
export function DiffTable({ heads, parts, show = String }: { heads: { id: string; head: ReactNode }[]; parts: readonly DiffPart[]; show?: (key: string, value: string | number) => string }) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">
            <span className="sr">Key</span>
          </th>
          {heads.map(({ id, head }) => (
            <th key={id} scope="col">
              {head}
            </th>
          ))}
        </tr>
      </thead>
      {parts.map(({ name, rows }) => (
        <tbody key={name}>
          <tr className="part">
            <th scope="rowgroup">
              {name} <span className="badge">{rows.length}</span>
            </th>
            <td colSpan={heads.length} />
          </tr>
          {rows.map(({ key, values, differs }) => (
            <tr key={key} className={differs ? "differs" : ""}>
              <th scope="row">{key}</th>
              {values.map((value, i) => (
                <td key={i} title={value === null ? undefined : String(value).slice(0, LONG)}>
                  {value === null ? <span className="faint">–</span> : <Value text={show(key, value)} />}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      ))}
    </table>
  );
}
