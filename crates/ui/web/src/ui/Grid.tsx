// A table of any length: only the rows and columns in sight are in the document.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type ReactNode, memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Icon } from "./icons";

export interface GridColumn {
  id: string;
  label: string;
  /** What stands in the head; the label if there is none. */
  head?: ReactNode;
  width: number;
  pinned?: boolean;
  numeric?: boolean;
  sort?: "asc" | "desc" | null;
  onSort?: () => void;
  menu?: ReactNode;
  fixed?: boolean;
}

export interface GridProps {
  label: string;
  count: number;
  columns: GridColumn[];
  /** What a cell shows. Plain text, which most cells are, costs one element; it is cut where it does not fit. */
  cell: (row: number, column: GridColumn) => ReactNode;
  /** What the pointer is told over a cell. */
  hint?: (row: number, column: GridColumn) => string | null;
  rowClass?: (row: number) => string;
  rowHeight?: number;
  onResize?: (id: string, width: number) => void;
  onMove?: (id: string, before: string) => void;
  /** The last row in sight: time to fetch more. */
  onEnd?: (last: number) => void;
  onOpen?: (row: number) => void;
  onToggle?: (row: number) => void;
  current?: number;
  onCurrent?: (row: number) => void;
  /** Changes when cells have to be drawn again though their number did not change. */
  version?: unknown;
}

const MIN_WIDTH = 48;
/** Rows drawn beyond each edge, so that scrolling shows no gaps. */
const BEYOND = 6;

export function Grid(props: GridProps) {
  const { count, columns, rowHeight = 34, onEnd, label } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const pinned = useMemo(() => columns.filter((column) => column.pinned), [columns]);
  const loose = useMemo(() => columns.filter((column) => !column.pinned), [columns]);
  const pinnedWidth = pinned.reduce((sum, column) => sum + column.width, 0);
  const lefts = useMemo(() => offsets(loose), [loose]);
  const pinnedLefts = useMemo(() => offsets(pinned), [pinned]);
  const [current, setCurrent] = useState(-1);
  const at = props.current ?? current;
  const move = useCallback((row: number) => (props.onCurrent ? props.onCurrent(row) : setCurrent(row)), [props.onCurrent]);

  const rows = useVirtualizer({ count, getScrollElement: () => scroller.current, estimateSize: () => rowHeight, overscan: BEYOND, scrollPaddingStart: rowHeight });
  const across = useVirtualizer({
    horizontal: true, count: loose.length, getScrollElement: () => scroller.current, estimateSize: (i) => loose[i]?.width ?? 100, overscan: 3,
    scrollPaddingStart: pinnedWidth, scrollMargin: pinnedWidth,
  });
  useEffect(() => across.measure(), [across, loose]);
  const visible = rows.getVirtualItems();
  // Rows that leave on one side come back on the other: an element is filled anew instead of made anew.
  const kept = useRef(1);
  kept.current = Math.max(kept.current, visible.length);
  const last = visible.at(-1)?.index ?? 0;
  useEffect(() => onEnd?.(last), [last, count, onEnd]);

  const shown = across.getVirtualItems().map((item) => item.index).filter((i) => i < loose.length);
  const from = shown[0] ?? 0;
  const to = shown.at(-1) ?? -1;
  const totalWidth = pinnedWidth + loose.reduce((sum, column) => sum + column.width, 0);

  const keys = (event: KeyboardEvent) => {
    if ((event.target as HTMLElement).closest("input, select, textarea")) return;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / rowHeight) - 2);
    const jumps: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -count, End: count };
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key in jumps) {
      event.preventDefault();
      const next = Math.max(0, Math.min(count - 1, at + jumps[event.key]!));
      move(next);
      rows.scrollToIndex(next);
    } else if ((event.key === "Enter" || event.key === "o") && at >= 0 && event.target === scroller.current) props.onOpen?.(at);
    else if ((event.key === " " || event.key === "x") && at >= 0 && event.target === scroller.current) {
      event.preventDefault();
      props.onToggle?.(at);
    }
  };

  // Hints are put where the pointer is: an attribute of every cell would be written with every row that scrolls by.
  const hinted = useRef<HTMLElement | null>(null);
  const hint = (event: React.PointerEvent) => {
    const cell = (event.target as HTMLElement).closest<HTMLElement>("[role=gridcell]");
    if (cell === hinted.current || !props.hint) return;
    hinted.current?.removeAttribute("title");
    hinted.current = cell;
    const row = Number(cell?.parentElement?.closest("[role=row]")?.getAttribute("aria-rowindex")) - 2;
    const place = Number(cell?.getAttribute("aria-colindex")) - 1;
    const column = place < pinned.length ? pinned[place] : loose[place - pinned.length];
    const text = cell && column && row >= 0 ? props.hint(row, column) : null;
    if (text) cell!.title = text;
  };
  const unhint = () => {
    hinted.current?.removeAttribute("title");
    hinted.current = null;
  };

  // j and k work wherever the focus is, as long as nobody is typing.
  useEffect(() => {
    const anywhere = (event: globalThis.KeyboardEvent) => {
      if ((event.key !== "j" && event.key !== "k") || event.metaKey || event.ctrlKey || event.altKey) return;
      const on = event.target as HTMLElement;
      if (on !== document.body || document.querySelector("dialog[open]")) return;
      scroller.current?.focus();
      scroller.current?.dispatchEvent(new globalThis.KeyboardEvent("keydown", { key: event.key, bubbles: true }));
    };
    addEventListener("keydown", anywhere);
    return () => removeEventListener("keydown", anywhere);
  }, []);

  return (
    <div
      ref={scroller}
      className="grid"
      role="grid"
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length}
      tabIndex={0}
      onKeyDown={keys}
      onPointerOver={hint}
      onScroll={unhint}
    >
      <div className="canvas" style={{ height: rows.getTotalSize() + rowHeight, width: totalWidth, minWidth: "100%", lineHeight: `${rowHeight - 1}px` }} role="presentation">
        <div className="head" role="row" aria-rowindex={1} style={{ height: rowHeight }}>
          <div className="pins" role="presentation" style={{ width: pinnedWidth }}>
            {pinned.map((column, i) => (
              <Head key={column.id} column={column} left={pinnedLefts[i]!} index={i} grid={props} />
            ))}
          </div>
          {loose.slice(from, to + 1).map((column, i) => (
            <Head key={column.id} column={column} left={pinnedWidth + lefts[from + i]!} index={pinned.length + from + i} grid={props} />
          ))}
        </div>
        {visible.map((item) => (
          <Row
            key={item.index % kept.current}
            index={item.index}
            top={item.start + rowHeight}
            height={rowHeight}
            width={totalWidth}
            pinned={pinned}
            pinnedLefts={pinnedLefts}
            pinnedWidth={pinnedWidth}
            loose={loose}
            lefts={lefts}
            from={from}
            to={to}
            cell={props.cell}
            className={`${props.rowClass?.(item.index) ?? ""} ${item.index === at ? "cur" : ""}`}
            onCurrent={move}
            onOpen={props.onOpen}
            version={props.version}
          />
        ))}
      </div>
    </div>
  );
}

function offsets(columns: readonly GridColumn[]): number[] {
  let left = 0;
  return columns.map((column) => {
    const at = left;
    left += column.width;
    return at;
  });
}

function Head({ column, left, index, grid }: { column: GridColumn; left: number; index: number; grid: GridProps }) {
  const [over, setOver] = useState(false);
  const resizing = useRef(false);
  const grip = (event: React.PointerEvent<HTMLButtonElement>) => {
    event.preventDefault();
    event.stopPropagation();
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    resizing.current = true;
    const start = event.clientX;
    const width = column.width;
    const move = (moved: PointerEvent) => grid.onResize?.(column.id, Math.max(MIN_WIDTH, width + moved.clientX - start));
    target.addEventListener("pointermove", move);
    const end = () => {
      resizing.current = false;
      target.removeEventListener("pointermove", move);
    };
    target.addEventListener("pointerup", end, { once: true });
    target.addEventListener("pointercancel", end, { once: true });
  };
  const movable = grid.onMove && !column.fixed;
  return (
    <div
      className={`c ${column.numeric ? "r" : ""} ${over ? "drop" : ""}`}
      role="columnheader"
      aria-colindex={index + 1}
      aria-sort={column.sort === "asc" ? "ascending" : column.sort === "desc" ? "descending" : undefined}
      style={{ left, width: column.width }}
      draggable={movable}
      onDragStart={(event) => {
        if (resizing.current) {
          event.preventDefault();
          return;
        }
        event.dataTransfer.setData("text/x-column", column.id);
        event.dataTransfer.effectAllowed = "move";
      }}
      onDragOver={(event) => {
        if (movable && event.dataTransfer.types.includes("text/x-column")) {
          event.preventDefault();
          setOver(true);
        }
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        setOver(false);
        const id = event.dataTransfer.getData("text/x-column");
        if (id && id !== column.id) grid.onMove?.(id, column.id);
      }}
      title={column.label}
    >
      {column.head ??
        (column.onSort ? (
          <button type="button" className="sort" onClick={column.onSort} aria-label={`Sort by ${column.label}`}>
            <span className="cut">{column.label}</span>
            {column.sort && <Icon name={column.sort === "asc" ? "up2" : "down2"} size={11} />}
          </button>
        ) : (
          <span className="cut">{column.label}</span>
        ))}
      {column.menu}
      {grid.onResize && !column.fixed && (
        <button
          type="button"
          className="grip"
          tabIndex={-1}
          aria-label={`Width of ${column.label}`}
          onPointerDown={grip}
          onClick={(event) => event.stopPropagation()}
        />
      )}
    </div>
  );
}

interface RowProps {
  index: number;
  top: number;
  height: number;
  width: number;
  pinned: GridColumn[];
  pinnedLefts: number[];
  pinnedWidth: number;
  loose: GridColumn[];
  lefts: number[];
  from: number;
  to: number;
  cell: GridProps["cell"];
  className: string;
  onCurrent: (row: number) => void;
  onOpen?: (row: number) => void;
  version: unknown;
}

const Row = memo(function Row({ index, top, height, width, pinned, pinnedLefts, pinnedWidth, loose, lefts, from, to, cell, className, onCurrent, onOpen }: RowProps) {
  const ref = useRef<HTMLDivElement>(null);
  // What had the focus in the row that was here is not what the key pressed next is meant for.
  const before = useRef(index);
  useLayoutEffect(() => {
    if (before.current === index) return;
    before.current = index;
    const row = ref.current!;
    if (row.contains(document.activeElement)) row.closest<HTMLElement>("[role=grid]")?.focus({ preventScroll: true });
  }, [index]);
  return (
    <div
      ref={ref}
      className={`gr ${className}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={className.includes("sel") || undefined}
      style={{ transform: `translateY(${top}px)`, width, minWidth: "100%", height }}
      onClick={() => onCurrent(index)}
      onDoubleClick={() => onOpen?.(index)}
    >
      <div className="pins pinned" role="presentation" style={{ width: pinnedWidth }}>
        {pinned.map((column, i) => (
          <Cell key={column.id} column={column} place={i + 1} left={pinnedLefts[i]!} content={cell(index, column)} />
        ))}
      </div>
      {loose.slice(from, to + 1).map((column, i) => (
        <Cell key={column.id} column={column} place={pinned.length + from + i + 1} left={pinnedWidth + lefts[from + i]!} content={cell(index, column)} />
      ))}
    </div>
  );
});

function Cell({ column, place, left, content }: { column: GridColumn; place: number; left: number; content: ReactNode }) {
  const kind = `${typeof content === "string" ? "t" : content === null ? "t none" : ""} ${column.numeric ? "r" : ""}`;
  return (
    <div className={`c ${kind}`} role="gridcell" aria-colindex={place} style={{ left, width: column.width }}>
      {content ?? "–"}
    </div>
  );
}
