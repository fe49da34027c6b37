// What is done with many runs at once: those selected, or all that fit the filter.

import { useRef, useState } from "react";
import { type RunQuery, runs as calls } from "../api/calls";
import type { Run } from "../api/types";
import { count as written, plural } from "../lib/format";
import { Link } from "../router";
import { Icon } from "../ui/icons";
import { Ask, Button, failed, toast } from "../ui/kit";

/** At once: the server has others to serve. */
const AT_ONCE = 6;
const PAGE = 5000;

interface Props {
  runs: Run[];
  ids: string[];
  query: RunQuery;
  /** All that fit the filter, as far as that is known; null where all of them are loaded. */
  beyond: { total: number | null } | null;
  everything: boolean;
  onEverything: () => void;
  onClear: () => void;
  onDone: () => void;
}

export function Bulk({ runs, ids, query, beyond, everything, onEverything, onClear, onDone }: Props) {
  const [asking, setAsking] = useState<"delete" | "tag" | null>(null);
  const [progress, setProgress] = useState<string | null>(null);
  const stop = useRef<AbortController | null>(null);
  const deleted = everything ? query.view === "DELETED_ONLY" : runs.length > 0 && runs.every((run) => run.deleted);
  const many = everything ? (beyond?.total === null || !beyond ? "all runs that fit the filter" : `all ${plural(beyond.total, "run")} that fit the filter`) : plural(ids.length, "run");

  const each = async (what: string, action: (id: string) => Promise<unknown>) => {
    const { signal } = (stop.current = new AbortController());
    let done = 0;
    const errors: unknown[] = [];
    try {
      const queue = everything ? await idsOf(query, signal, (found) => setProgress(`Found ${written(found)}`)) : [...ids];
      const all = queue.length;
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          for (let id = queue.pop(); id !== undefined && !signal.aborted; id = queue.pop()) {
            try {
              await action(id);
              done++;
            } catch (error) {
              errors.push(error);
            }
            if (all > 100 && (done + errors.length) % 20 === 0) setProgress(`${what} ${written(done)} of ${written(all)}`);
          }
        }),
      );
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      setProgress(null);
      onDone();
    }
    if (errors.length > 0 && done === 0) throw errors[0];
    if (errors.length > 0) toast(`${what} ${plural(done, "run")}; ${errors.length} failed: ${(errors[0] as Error).message}`, "bad");
    else toast(`${what} ${plural(done, "run")}${signal.aborted ? ", then stopped" : ""}.`);
  };

  return (
    <div className="toolbar" role="region" aria-label="Selected runs" style={{ background: "var(--bg-selected)", paddingBlock: 5 }}>
      <b className="num">{everything ? (beyond?.total ? `All ${written(beyond.total)} selected` : "All selected") : `${written(ids.length)} selected`}</b>
      {beyond && !everything && (
        <Button small kind="quiet" onClick={onEverything}>
          Select all {beyond.total === null ? "" : written(beyond.total)} that fit the filter
        </Button>
      )}
      {progress !== null ? (
        <>
          <span className="row num" role="status">
            <Icon name="spin" className="spin" size={12} /> {progress}
          </span>
          <Button small onClick={() => stop.current?.abort()}>
            Stop
          </Button>
        </>
      ) : (
        <>
          {!everything && (
            <Link className="btn small" href={`/compare?runs=${ids.slice(0, 50).join(",")}`}>
              <Icon name="compare" /> Compare
            </Link>
          )}
          <Button small icon="tag" onClick={() => setAsking("tag")}>
            Tag…
          </Button>
          {deleted ? (
            <Button small icon="restore" onClick={() => each("Restored", calls.restore).then(onClear, failed)}>
              Restore
            </Button>
          ) : (
            <Button small kind="danger" icon="trash" onClick={() => setAsking("delete")}>
              Delete…
            </Button>
          )}
          <Button small kind="quiet" onClick={onClear}>
            Clear
          </Button>
        </>
      )}
      {asking === "delete" && (
        <Ask
          title={`Delete ${many}?`}
          text="They can be restored: choose “Deleted” beside the filter."
          verb="Delete"
          danger
          onClose={() => setAsking(null)}
          action={async () => {
            await each("Deleted", calls.delete);
            onClear();
          }}
        />
      )}
      {asking === "tag" && (
        <Ask
          title={`Tag ${many}`}
          label="Tag, as key=value"
          verb="Set"
          onClose={() => setAsking(null)}
          action={async (text) => {
            const at = text.indexOf("=");
            const key = (at < 0 ? text : text.slice(0, at)).trim();
            await each("Tagged", (id) => calls.setTag(id, key, at < 0 ? "" : text.slice(at + 1).trim()));
          }}
        />
      )}
    </div>
  );
}

/** By the very search that the table shows, page after page: no other question decides what is deleted. */
async function idsOf(query: RunQuery, signal: AbortSignal, found: (count: number) => void): Promise<string[]> {
  const out: string[] = [];
  let token: string | undefined;
  do {
    const page = await calls.page(query, PAGE, token, signal);
    for (const run of page.runs) out.push(run.id);
    token = page.next ?? undefined;
    found(out.length);
  } while (token);
  return out;
}
