import { useEffect, useMemo, useRef, useState } from "react";
import type { Run } from "../api/types";
import { FilterError, type Key, type Known, complete, parse } from "../lib/filter";
import { Icon } from "../ui/icons";
import { Button, Popover } from "../ui/kit";

const STATUSES = ["FINISHED", "RUNNING", "FAILED", "KILLED", "SCHEDULED"];

export function knownOf(keys: { params: string[]; metrics: string[]; tags: string[] }, runs: readonly Run[]): Known {
  return {
    ...keys,
    values(of: Key) {
      if (of.kind === "attributes" && of.name === "status") return STATUSES;
      const seen = new Set<string>();
      for (const run of runs.slice(0, 2000)) {
        const value =
          of.kind === "params" ? run.params[of.name]
          : of.kind === "tags" ? run.tags[of.name]
          : of.kind === "attributes" ? ({ run_name: run.name, user_id: run.user, run_id: run.id } as Record<string, string>)[of.name]
          : undefined;
        if (value) seen.add(value);
        if (seen.size >= 200) break;
      }
      return [...seen].sort();
    },
  };
}

export function problemOf(text: string): string | null {
  try {
    parse(text);
    return null;
  } catch (error) {
    return error instanceof FilterError ? error.message : String(error);
  }
}

export function FilterBar({ value, onApply, known }: { value: string; onApply: (text: string) => void; known: Known }) {
  const [text, setText] = useState(value);
  const [caret, setCaret] = useState(0);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => setText(value), [value]);
  const suggestion = useMemo(() => (open ? complete(text.slice(0, caret), known) : { from: 0, options: [] }), [open, text, caret, known]);
  const problem = useMemo(() => (text.trim() === value.trim() || open ? null : problemOf(text)), [text, value, open]);

  const apply = () => {
    setOpen(false);
    if (problemOf(text) === null) onApply(text.trim());
  };
  const take = (i: number) => {
    const option = suggestion.options[i];
    if (!option) return;
    const head = `${text.slice(0, suggestion.from)}${option.text} `;
    setText(head + text.slice(caret).replace(/^\s+/, ""));
    setAt(-1);
    requestAnimationFrame(() => {
      input.current?.setSelectionRange(head.length, head.length);
      setCaret(head.length);
    });
  };
  const list = open && suggestion.options.length > 0;
  return (
    <div className={`filter ${problem ? "wrong" : ""}`}>
      <Icon name="search" />
      <input
        ref={input}
        className="input"
        data-search
        value={text}
        placeholder="Filter: metrics.loss < 0.5 AND params.optimizer = 'adam'"
        aria-label="Filter of runs"
        aria-invalid={problem !== null}
        role="combobox"
        aria-expanded={list}
        aria-controls="filter-options"
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 ? `filter-option-${at}` : undefined}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => {
          setText(event.target.value);
          setCaret(event.target.selectionStart ?? event.target.value.length);
          setOpen(true);
          setAt(-1);
        }}
        onSelect={(event) => setCaret(event.currentTarget.selectionStart ?? 0)}
        onFocus={(event) => {
          setCaret(event.target.value.length);
          setOpen(true);
        }}
        onBlur={() => setOpen(false)}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" && list) {
            event.preventDefault();
            setAt(Math.min(suggestion.options.length - 1, at + 1));
          } else if (event.key === "ArrowUp" && list) {
            event.preventDefault();
            setAt(Math.max(-1, at - 1));
          } else if (event.key === "Tab" && list && !event.shiftKey && text.trim() !== "") {
            event.preventDefault();
            take(Math.max(0, at));
          } else if (event.key === "Enter") {
            if (at >= 0) take(at);
            else apply();
          } else if (event.key === "Escape") {
            if (open) setOpen(false);
            else input.current?.blur();
          }
        }}
      />
      <span className="tools">
        {text && (
          <Button
            kind="quiet"
            small
            icon="close"
            title="Clear the filter"
            onClick={() => {
              setText("");
              onApply("");
            }}
          />
        )}
        <SyntaxHelp />
      </span>
      {list && (
        <ul className="suggest" role="listbox" id="filter-options" aria-label="Completions">
          {suggestion.options.map((option, i) => (
            <li
              key={option.text}
              id={`filter-option-${i}`}
              role="option"
              aria-selected={i === at}
              onPointerDown={(event) => {
                event.preventDefault();
                take(i);
              }}
              ref={i === at ? (el) => void el?.scrollIntoView({ block: "nearest" }) : undefined}
            >
              <span className="cut">{option.text}</span>
              <span className="hint">{option.hint}</span>
            </li>
          ))}
        </ul>
      )}
      {problem && (
        <div className="suggest" role="alert" style={{ color: "var(--bad)", padding: "6px 10px" }}>
          {problem}
        </div>
      )}
    </div>
  );
}

const EXAMPLES: [string, string][] = [
  ["metrics.loss < 0.5", "the last value of a metric"],
  ["metrics.loss.min < 0.1", "its min, max, mean or count"],
  ["metrics.`train/loss` < 1", "keys with other characters in backticks"],
  ["params.lr = '0.01'", "params are texts"],
  ["params.model LIKE 'resnet%'", "% any text; ILIKE for any case"],
  ["tags.team IN ('a', 'b')", "one of several"],
  ["attributes.status = 'FAILED'", "run_name, user_id, start_time …"],
  ["metrics.acc BETWEEN 0.8 AND 0.9", "a range"],
  ["params.dropout IS NULL", "was not logged"],
  ["a AND (b OR NOT c)", "and, or, not, parentheses"],
];

function SyntaxHelp() {
  return (
    <Popover label="Syntax of filters" trigger={(props) => <Button kind="quiet" small icon="help" title="Syntax of filters" {...props} />}>
      {() => (
        <div style={{ width: 430, padding: 6 }} tabIndex={-1}>
          <h3>Filters</h3>
          <table className="plain">
            <tbody>
              {EXAMPLES.map(([code, what]) => (
                <tr key={code}>
                  <td>
                    <code>{code}</code>
                  </td>
                  <td className="soft">{what}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Popover>
  );
}
