import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { experiments, models, runs } from "../api/calls";
import { sqlText } from "../lib/filter";
import { navigate, path } from "../router";
import { remembered, setTheme } from "../state/session";
import { Icon, type IconName } from "../ui/icons";
import { Dialog } from "../ui/kit";
import { useDebounced } from "./shared";

interface Hit {
  id: string;
  icon: IconName;
  label: string;
  hint: string;
  run: () => void;
}

const go = (to: string) => () => navigate(to);

const ACTIONS: Hit[] = [
  { id: "go-e", icon: "flask", label: "Experiments", hint: "g e", run: go("/") },
  { id: "go-m", icon: "cube", label: "Models", hint: "g m", run: go("/models") },
  { id: "go-s", icon: "terminal", label: "SQL", hint: "g s", run: go("/sql") },
  { id: "t-l", icon: "sun", label: "Theme: light", hint: "", run: () => setTheme("light") },
  { id: "t-d", icon: "moon", label: "Theme: dark", hint: "", run: () => setTheme("dark") },
  { id: "t-s", icon: "auto", label: "Theme: as the system", hint: "", run: () => setTheme("system") },
];

export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const late = useDebounced(text.trim(), 180);
  const known = useQuery({ queryKey: ["experiments", "ACTIVE_ONLY"], queryFn: () => experiments.list("ACTIVE_ONLY") });
  const registered = useQuery({ queryKey: ["models"], queryFn: () => models.list() });
  const found = useQuery({
    queryKey: ["palette", late],
    enabled: late.length > 1 && known.data !== undefined,
    queryFn: async ({ signal }) => {
      const experimentIds = known.data!.map(({ experiment_id }) => experiment_id);
      const exact = /^[0-9a-f]{32}$/.test(late);
      const filter = exact ? `attributes.run_id = '${late}'` : `attributes.run_name ILIKE ${sqlText(`%${late}%`)}`;
      return (await runs.page({ experimentIds, filter, orderBy: ["attributes.start_time DESC"], view: "ACTIVE_ONLY" }, 12, undefined, signal)).runs;
    },
  });

  const hits = useMemo<Hit[]>(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (label: string) => words.every((word) => label.toLowerCase().includes(word));
    const out: Hit[] = [];
    if (words.length === 0) {
      for (const { href, name } of remembered<{ href: string; name: string }[]>("recent", []).slice(0, 5)) out.push({ id: href, icon: "clock", label: name, hint: "recent", run: go(href) });
    }
    out.push(...ACTIONS.filter(({ label }) => fits(label)));
    for (const { experiment_id, name } of (known.data ?? []).filter(({ name }) => words.length > 0 && fits(name)).slice(0, 8)) {
      out.push({ id: `e${experiment_id}`, icon: "flask", label: name, hint: "experiment", run: go(path("experiments", experiment_id)) });
    }
    for (const { name } of (registered.data ?? []).filter(({ name }) => words.length > 0 && fits(name)).slice(0, 8)) {
      out.push({ id: `m${name}`, icon: "cube", label: name, hint: "model", run: go(path("models", name)) });
    }
    for (const run of found.data ?? []) out.push({ id: run.id, icon: "chart", label: run.name, hint: `run ${run.id.slice(0, 8)}`, run: go(path("runs", run.id)) });
    if (words.length > 0) {
      out.push({ id: "sql", icon: "terminal", label: `Run as SQL: ${text}`, hint: "SQL", run: go(`/sql?q=${encodeURIComponent(text)}`) });
    }
    return out;
  }, [text, known.data, registered.data, found.data]);

  useEffect(() => setAt(0), [text]);
  useEffect(() => {
    void list.current?.children[at]?.scrollIntoView({ block: "nearest" });
  }, [at]);
  const choose = (hit: Hit | undefined) => {
    if (!hit) return;
    onClose();
    hit.run();
  };
  return (
    <Dialog title="Search" onClose={onClose} className="palette">
      <input
        className="input"
        autoFocus
        value={text}
        placeholder="Runs, experiments, models, actions"
        aria-label="Search runs, experiments, models and actions"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-hits"
        aria-activedescendant={hits[at] ? `hit-${at}` : undefined}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            setAt((at + (event.key === "ArrowDown" ? 1 : hits.length - 1)) % Math.max(1, hits.length));
          } else if (event.key === "Enter") choose(hits[at]);
        }}
      />
      <ul role="listbox" id="palette-hits" aria-label="Hits" ref={list}>
        {hits.map((hit, i) => (
          <li key={hit.id} id={`hit-${i}`} role="option" aria-selected={i === at} onClick={() => choose(hit)} onPointerMove={() => setAt(i)}>
            <Icon name={hit.icon} />
            <span className="cut">{hit.label}</span>
            <span className="hint">{hit.hint}</span>
          </li>
        ))}
        {hits.length === 0 && <li role="option" aria-selected="false" className="faint">Nothing found.</li>}
      </ul>
    </Dialog>
  );
}

const KEYS: [string, string][] = [
  ["Ctrl K or ⌘K", "Search everything"],
  ["/", "To the filter of this page"],
  ["j, k or ↓, ↑", "Next and previous row"],
  ["Enter or o", "Open the row"],
  ["x or space", "Select the row"],
  ["1 to 9", "The tabs of the page"],
  ["g then e, m, s", "Experiments, models, SQL"],
  ["Ctrl Enter or ⌘Enter", "Run the query (SQL)"],
  ["Esc", "Close what is open"],
  ["?", "This list"],
];

export function Shortcuts({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <div className="body">
        <table className="plain">
          <tbody>
            {KEYS.map(([key, what]) => (
              <tr key={key}>
                <td style={{ width: 190 }}>
                  <kbd>{key}</kbd>
                </td>
                <td>{what}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Dialog>
  );
}
