import { useMemo, useState } from "react";
import { AGGREGATES, ATTRIBUTES, DEFAULT_COLUMNS, type Kind, column, label, metricColumn } from "../lib/columns";
import { Button, Popover } from "../ui/kit";

/** As many of a kind are listed. */
const MOST = 300;

interface Keys {
  params: string[];
  metrics: string[];
  tags: string[];
}

export function ColumnPicker({ keys, chosen, onChange }: { keys: Keys; chosen: readonly string[]; onChange: (ids: string[]) => void }) {
  return (
    <Popover label="Columns" className="picker" trigger={(props) => <Button icon="columns" {...props}>Columns</Button>}>
      {() => <Picker keys={keys} chosen={chosen} onChange={onChange} />}
    </Popover>
  );
}

function Picker({ keys, chosen, onChange }: { keys: Keys; chosen: readonly string[]; onChange: (ids: string[]) => void }) {
  const [text, setText] = useState("");
  const groups = useMemo(() => {
    const fits = (name: string) => name.toLowerCase().includes(text.toLowerCase());
    const all: { kind: Kind; title: string; ids: string[] }[] = [
      { kind: "metrics", title: "Metrics", ids: keys.metrics.map((key) => metricColumn(key, "last")) },
      { kind: "params", title: "Params", ids: keys.params.map((key) => `params.${key}`) },
      { kind: "attributes", title: "Attributes", ids: ATTRIBUTES.map((key) => `attributes.${key}`) },
      { kind: "tags", title: "Tags", ids: keys.tags.map((key) => `tags.${key}`) },
    ];
    return all.map((group) => ({ ...group, ids: group.ids.filter((id) => fits(label(column(id)))) }));
  }, [keys, text]);
  const toggle = (id: string) => onChange(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id]);
  return (
    <>
      <input className="input" type="search" placeholder="Search columns" aria-label="Search columns" value={text} onChange={(event) => setText(event.target.value)} autoFocus />
      <div className="list">
        {groups.map(({ kind, title, ids }) =>
          ids.length === 0 ? null : (
            <fieldset key={kind} style={{ border: 0, padding: 0, margin: 0, minWidth: 0 }}>
              <legend className="row" style={{ width: "100%", padding: "6px 6px 2px" }}>
                <span className="faint grow" style={{ fontSize: 11.5, fontWeight: 540 }}>
                  {title} ({ids.length})
                </span>
                <Button
                  kind="quiet"
                  small
                  onClick={() => {
                    const every = ids.every((id) => chosen.includes(id));
                    onChange(every ? chosen.filter((id) => !ids.includes(id)) : [...chosen, ...ids.filter((id) => !chosen.includes(id))]);
                  }}
                >
                  {ids.every((id) => chosen.includes(id)) ? "None" : "All"}
                </Button>
              </legend>
              {ids.slice(0, MOST).map((id) => (
                <div className="pick" key={id}>
                  <label>
                    <input type="checkbox" checked={chosen.includes(id)} onChange={() => toggle(id)} />
                    <span className="cut" title={label(column(id))}>
                      {label(column(id))}
                    </span>
                  </label>
                  {kind === "metrics" && (
                    <span className="aggs">
                      {AGGREGATES.filter((how) => how !== "last").map((how) => {
                        const of = metricColumn(column(id).key, how);
                        return (
                          <button key={how} type="button" aria-pressed={chosen.includes(of)} aria-label={`${how} of ${column(id).key}`} onClick={() => toggle(of)}>
                            {how}
                          </button>
                        );
                      })}
                    </span>
                  )}
                </div>
              ))}
              {ids.length > MOST && <p className="faint" style={{ padding: "2px 6px" }}>and {ids.length - MOST} more: search for them.</p>}
            </fieldset>
          ),
        )}
      </div>
      <div className="row" style={{ marginTop: 8 }}>
        <Button small onClick={() => onChange(DEFAULT_COLUMNS)}>
          Reset
        </Button>
        <span className="faint grow right">{chosen.length} shown</span>
      </div>
    </>
  );
}
