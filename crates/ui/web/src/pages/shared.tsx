// What several pages need.

import { type ReactNode, useEffect, useState } from "react";
import { Link } from "../router";
import { remember, remembered } from "../state/session";
import { Icon } from "../ui/icons";
import { Button } from "../ui/kit";

export function TopBar({ crumbs, children }: { crumbs: { label: string; href?: string }[]; children?: ReactNode }) {
  const title = crumbs.at(-1)?.label ?? "runlake";
  useEffect(() => {
    document.title = `${title} · runlake`;
  }, [title]);
  return (
    <div className="topbar">
      <nav className="crumbs grow" aria-label="Where you are">
        {crumbs.map(({ label, href }, i) => (
          <span key={i} className="row" style={{ gap: 6 }}>
            {i > 0 && <Icon name="chevron" size={11} />}
            {href ? (
              <Link href={href} className="cut">
                {label}
              </Link>
            ) : (
              <span aria-current="page" className="cut">
                {label}
              </span>
            )}
          </span>
        ))}
      </nav>
      {children}
    </div>
  );
}

/** Notes that a page was seen, for the side bar. */
export function useRecent(href: string, name: string | undefined) {
  useEffect(() => {
    if (!name) return;
    const before = remembered<{ href: string; name: string }[]>("recent", []);
    remember("recent", [{ href, name }, ...before.filter((one) => one.href !== href)].slice(0, 8));
  }, [href, name]);
}

export function SearchBox({ value, onChange, placeholder, autoFocus, search = true }: { value: string; onChange: (value: string) => void; placeholder: string; autoFocus?: boolean; search?: boolean }) {
  return (
    <div className="searchbox">
      <Icon name="search" />
      <input className="input" type="search" value={value} onChange={(event) => onChange(event.target.value)} placeholder={placeholder} aria-label={placeholder} autoFocus={autoFocus} data-search={search || undefined} />
    </div>
  );
}

export function useDebounced<T>(value: T, ms: number): T {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const id = setTimeout(() => setLate(value), ms);
    return () => clearTimeout(id);
  }, [value, ms]);
  return late;
}

export function save(name: string, data: Blob | string, type = "text/plain"): void {
  const blob = typeof data === "string" ? new Blob([data], { type }) : data;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
}

/** Tags with a way to add, change and remove them. */
export function Tags({ tags, onSet, onDelete, readOnly }: { tags: Record<string, string>; onSet: (key: string, value: string) => Promise<unknown>; onDelete: (key: string) => Promise<unknown>; readOnly?: boolean }) {
  const [key, setKey] = useState("");
  const [value, setValue] = useState("");
  const [adding, setAdding] = useState(false);
  const [problem, setProblem] = useState("");
  const list = Object.entries(tags).sort(([a], [b]) => a.localeCompare(b));
  const run = async (action: () => Promise<unknown>) => {
    setProblem("");
    try {
      await action();
      setAdding(false);
      setKey("");
      setValue("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <div className="stack" style={{ gap: 8 }}>
      <div className="row wrap" style={{ gap: 6 }}>
        {list.map(([name, text]) => (
          <span key={name} className="badge" title={`${name}: ${text}`}>
            <button
              type="button"
              disabled={readOnly}
              title="Change"
              onClick={() => {
                setKey(name);
                setValue(text);
                setAdding(true);
              }}
            >
              <span className="cut" style={{ maxWidth: 240 }}>
                <span className="faint">{name}</span> {text}
              </span>
            </button>
            {!readOnly && (
              <button type="button" aria-label={`Remove tag ${name}`} onClick={() => run(() => onDelete(name))}>
                <Icon name="close" size={11} />
              </button>
            )}
          </span>
        ))}
        {list.length === 0 && <span className="faint">No tags.</span>}
        {!readOnly && !adding && (
          <Button small kind="quiet" icon="plus" onClick={() => setAdding(true)}>
            Tag
          </Button>
        )}
      </div>
      {adding && (
        <form
          className="row"
          onSubmit={(event) => {
            event.preventDefault();
            if (key.trim()) void run(() => onSet(key.trim(), value));
          }}
        >
          <input className="input" placeholder="Key" aria-label="Key of the tag" value={key} onChange={(event) => setKey(event.target.value)} autoFocus />
          <input className="input" placeholder="Value" aria-label="Value of the tag" value={value} onChange={(event) => setValue(event.target.value)} />
          <button type="submit" className="btn primary">
            Set
          </button>
          <Button kind="quiet" icon="close" title="Cancel" onClick={() => setAdding(false)} />
        </form>
      )}
      {problem && (
        <p role="alert" style={{ color: "var(--bad)" }}>
          {problem}
        </p>
      )}
    </div>
  );
}

export function record(list: { key: string; value: string }[] | undefined): Record<string, string> {
  return Object.fromEntries((list ?? []).map(({ key, value }) => [key, value]));
}
