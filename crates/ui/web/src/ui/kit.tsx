// The few parts that every page is made of.

import { type ButtonHTMLAttributes, type ReactNode, type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";
import { createPortal } from "react-dom";
import { ApiError } from "../api/client";
import type { RunStatus } from "../api/types";
import { Link } from "../router";
import { Icon, type IconName } from "./icons";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & { icon?: IconName; kind?: "primary" | "quiet" | "danger" | "danger primary"; small?: boolean; on?: boolean };

/** A button. One without children needs a `title`, which is its name. */
export function Button({ icon, kind, small, on, children, className, title, ...rest }: ButtonProps) {
  const classes = ["btn", kind, small && "small", on && "on", !children && "icon", className].filter(Boolean).join(" ");
  return (
    <button type="button" className={classes} title={title} aria-label={children ? undefined : title} aria-pressed={on} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** Where a pop-over opens below (or above) its anchor, within the window. */
function usePlace(anchor: RefObject<HTMLElement | null>, pop: RefObject<HTMLElement | null>, open: boolean) {
  useLayoutEffect(() => {
    if (!open) return;
    const place = () => {
      const box = anchor.current?.getBoundingClientRect();
      const el = pop.current;
      if (!box || !el) return;
      const { offsetWidth: width, offsetHeight: height } = el;
      const left = Math.max(8, Math.min(box.left, innerWidth - width - 8));
      const below = box.bottom + 4;
      const top = below + height > innerHeight - 8 && box.top - height - 4 > 8 ? box.top - height - 4 : Math.max(8, Math.min(below, innerHeight - height - 8));
      el.style.left = `${left}px`;
      el.style.top = `${top}px`;
    };
    place();
    const watch = new ResizeObserver(place);
    if (pop.current) watch.observe(pop.current);
    addEventListener("resize", place);
    return () => {
      watch.disconnect();
      removeEventListener("resize", place);
    };
  }, [open, anchor, pop]);
}

interface PopoverProps {
  trigger: (props: { onClick: () => void; "aria-expanded": boolean; "aria-haspopup": "menu" | "dialog" }) => ReactNode;
  children: (close: () => void) => ReactNode;
  label: string;
  role?: "menu" | "dialog";
  className?: string;
}

export function Popover({ trigger, children, label, role = "dialog", className }: PopoverProps) {
  const [open, setOpen] = useState(false);
  const anchor = useRef<HTMLSpanElement>(null);
  const pop = useRef<HTMLDivElement>(null);
  usePlace(anchor, pop, open);
  const close = useCallback(() => {
    setOpen(false);
    anchor.current?.querySelector("button")?.focus();
  }, []);
  useEffect(() => {
    if (!open) return;
    const target = pop.current?.querySelector<HTMLElement>("[autofocus], input, button, a, select");
    target?.focus({ preventScroll: true });
    const outside = (event: PointerEvent) => {
      const at = event.target as globalThis.Node;
      if (!pop.current?.contains(at) && !anchor.current?.contains(at) && !(at instanceof Element && at.closest("dialog"))) setOpen(false);
    };
    const key = (event: KeyboardEvent) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      }
      if (role === "menu" && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        event.preventDefault();
        const items = [...(pop.current?.querySelectorAll<HTMLElement>(".item:not(:disabled)") ?? [])];
        const at = items.indexOf(document.activeElement as HTMLElement);
        items[(at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length]?.focus();
      }
    };
    addEventListener("pointerdown", outside);
    addEventListener("keydown", key, true);
    return () => {
      removeEventListener("pointerdown", outside);
      removeEventListener("keydown", key, true);
    };
  }, [open, close, role]);
  return (
    <>
      <span ref={anchor} className="row">
        {trigger({ onClick: () => setOpen(!open), "aria-expanded": open, "aria-haspopup": role })}
      </span>
      {open &&
        createPortal(
          <div ref={pop} className={`pop ${className ?? ""}`} role={role} aria-label={label}>
            {children(close)}
          </div>,
          document.querySelector("dialog[open]") ?? document.body,
        )}
    </>
  );
}

export function Item({ icon, children, danger, onClick, disabled, checked }: { icon?: IconName; children: ReactNode; danger?: boolean; onClick: () => void; disabled?: boolean; checked?: boolean }) {
  return (
    <button type="button" role={checked === undefined ? "menuitem" : "menuitemcheckbox"} aria-checked={checked} className={`item ${danger ? "danger" : ""}`} onClick={onClick} disabled={disabled}>
      {icon && <Icon name={icon} />}
      <span className="grow">{children}</span>
      {checked && <Icon name="check" />}
    </button>
  );
}

export function Dialog({ title, onClose, children, footer, className }: { title: string; onClose: () => void; children: ReactNode; footer?: ReactNode; className?: string }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current!;
    if (!dialog.open) dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={className}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onPointerDown={(event) => event.target === ref.current && onClose()}
    >
      <header>
        <h2>{title}</h2>
        <Button kind="quiet" icon="close" title="Close" onClick={onClose} />
      </header>
      {children}
      {footer && <footer>{footer}</footer>}
    </dialog>
  );
}

/** Asks for one text, or only whether. `action` may fail: then the dialog stays and says why. */
export function Ask({ title, text, label, initial = "", verb, danger, multiline, optional, onClose, action }: {
  title: string; text?: ReactNode; label?: string; initial?: string; verb: string; danger?: boolean; multiline?: boolean; optional?: boolean;
  onClose: () => void; action: (value: string) => Promise<unknown>;
}) {
  const [value, setValue] = useState(initial);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = async () => {
    setBusy(true);
    setError(null);
    try {
      await action(value);
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  const ready = !label || optional || value.trim() !== "";
  return (
    <Dialog
      title={title}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={danger ? "danger primary" : "primary"} disabled={busy || !ready} onClick={run}>
            {verb}
          </Button>
        </>
      }
    >
      <form
        className="body"
        onSubmit={(event) => {
          event.preventDefault();
          if (ready && !busy) void run();
        }}
      >
        {text && <div className="soft">{text}</div>}
        {label && (
          <label className="field">
            {label}
            {multiline ? (
              <textarea className="input" autoFocus value={value} onChange={(event) => setValue(event.target.value)} rows={4} />
            ) : (
              <input className="input" autoFocus value={value} onChange={(event) => setValue(event.target.value)} />
            )}
          </label>
        )}
        {error !== null && <ErrorNote error={error} />}
      </form>
    </Dialog>
  );
}

export function adviceOf(error: unknown): { message: string; advice: string } {
  if (error instanceof ApiError) return { message: error.message, advice: error.advice };
  return { message: error instanceof Error ? error.message : String(error), advice: "Reload the page and try again." };
}

export function ErrorNote({ error, retry }: { error: unknown; retry?: () => void }) {
  const { message, advice } = adviceOf(error);
  return (
    <div className="note" role="alert">
      <Icon name="warn" />
      <div className="grow">
        <p>{message}</p>
        <p className="advice">{advice}</p>
      </div>
      {retry && (
        <Button small onClick={retry} icon="refresh">
          Try again
        </Button>
      )}
    </div>
  );
}

export function Empty({ title, children, code }: { title: string; children?: ReactNode; code?: string }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children && <div>{children}</div>}
      {code && <Snippet code={code} />}
    </div>
  );
}

export function Snippet({ code }: { code: string }) {
  return (
    <div className="snippet">
      <pre>{code}</pre>
      <CopyButton text={code} what="code" />
    </div>
  );
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch {
      toast(`The browser did not allow copying the ${what}.`, "bad");
    }
  };
  return <Button kind="quiet" small icon={done ? "check" : "copy"} title={done ? "Copied" : `Copy ${what}`} onClick={copy} />;
}

export function Badge({ kind, children }: { kind?: "good" | "bad" | "warn" | "busy" | "violet" | "accent"; children: ReactNode }) {
  return <span className={`badge ${kind ?? ""}`}>{children}</span>;
}

const STATUS: Record<RunStatus, { kind: "good" | "bad" | "busy" | "warn"; text: string }> = {
  FINISHED: { kind: "good", text: "Finished" },
  FAILED: { kind: "bad", text: "Failed" },
  RUNNING: { kind: "busy", text: "Running" },
  SCHEDULED: { kind: "busy", text: "Scheduled" },
  KILLED: { kind: "warn", text: "Killed" },
};

export function Status({ status }: { status: RunStatus }) {
  const { kind, text } = STATUS[status] ?? { kind: "warn", text: status };
  return <Badge kind={kind}>{text}</Badge>;
}

export function Stage({ stage }: { stage: string }) {
  const kind = stage === "Production" ? "good" : stage === "Staging" ? "warn" : undefined;
  return stage === "None" || !stage ? <span className="faint">None</span> : <Badge kind={kind}>{stage}</Badge>;
}

export function Tabs({ items, current, label }: { items: { id: string; label: string; href: string; n?: number }[]; current: string; label: string }) {
  return (
    <nav className="tabs" aria-label={label}>
      {items.map((item) => (
        <Link key={item.id} href={item.href} aria-current={item.id === current ? "page" : undefined}>
          {item.label}
          {item.n !== undefined && <span className="n">{item.n}</span>}
        </Link>
      ))}
    </nav>
  );
}

export function Skeleton({ rows = 8 }: { rows?: number }) {
  return (
    <div className="stack pad" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} className="skeleton" style={{ height: 18, width: `${92 - ((i * 17) % 45)}%` }} />
      ))}
    </div>
  );
}

// Toasts

interface Toast {
  id: number;
  text: string;
  kind: "good" | "bad";
}

let toasts: Toast[] = [];
const watchers = new Set<() => void>();
let nextToast = 1;

export function toast(text: string, kind: Toast["kind"] = "good"): void {
  const id = nextToast++;
  toasts = [...toasts.slice(-3), { id, text, kind }];
  for (const watch of watchers) watch();
  setTimeout(() => dismiss(id), kind === "bad" ? 9000 : 4000);
}

export function failed(error: unknown): void {
  const { message, advice } = adviceOf(error);
  toast(`${message} ${advice}`, "bad");
}

function dismiss(id: number): void {
  toasts = toasts.filter((toast) => toast.id !== id);
  for (const watch of watchers) watch();
}

export function Toasts() {
  const all = useSyncExternalStore(
    (watch) => {
      watchers.add(watch);
      return () => watchers.delete(watch);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {all.map(({ id, text, kind }) => (
        <div key={id} className={`toast ${kind}`}>
          <Icon name={kind === "bad" ? "warn" : "check"} />
          <span className="grow">{text}</span>
          <Button kind="quiet" small icon="close" title="Dismiss" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}

/** Splits its two children; the width of the left one can be dragged, or moved with arrow keys. */
export function Split({ left, right, width, onWidth }: { left: ReactNode; right: ReactNode; width: number; onWidth: (width: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const drag = (event: React.PointerEvent<HTMLButtonElement>) => {
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const origin = box.current!.getBoundingClientRect();
    const move = (moved: PointerEvent) => onWidth(Math.min(0.85, Math.max(0.15, (moved.clientX - origin.left) / origin.width)));
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", () => target.removeEventListener("pointermove", move), { once: true });
  };
  return (
    <div className="split" ref={box}>
      <div className="left" style={{ width: `${width * 100}%` }}>
        {left}
      </div>
      <button
        type="button"
        className="bar"
        aria-label="Width of the table"
        onPointerDown={drag}
        onKeyDown={(event) => {
          if (event.key === "ArrowLeft") onWidth(Math.max(0.15, width - 0.05));
          if (event.key === "ArrowRight") onWidth(Math.min(0.85, width + 0.05));
        }}
      />
      <div className="rest">{right}</div>
    </div>
  );
}
