// When runs began and ended, one line each.

import { useMemo, useState } from "react";
import type { Run } from "../api/types";
import { duration, exact, plural } from "../lib/format";
import { MOST_LINES, timeline } from "../lib/timeline";
import { Link, path } from "../router";
import { Button, Dialog } from "../ui/kit";

export function Timeline({ runs, onRemove, wide }: { runs: readonly Run[]; onRemove?: () => void; wide?: boolean }) {
  const [full, setFull] = useState(false);
  const { lines, ticks, total } = useMemo(() => timeline(runs, Date.now()), [runs]);
  return (
    <div className="chart" style={wide ? undefined : { gridColumn: "1 / -1", height: Math.min(420, 74 + lines.length * 22) }}>
      <header>
        <h3 className="cut">Timeline</h3>
        {total > lines.length && (
          <span className="faint num" style={{ fontSize: 11 }}>
            the first {MOST_LINES} of {plural(total, "run")}
          </span>
        )}
        <span className="tools">
          {!wide && <Button small kind="quiet" icon="full" title="Timeline in full size" onClick={() => setFull(true)} />}
          {!wide && onRemove && <Button small kind="quiet" icon="close" title="Remove Timeline" onClick={onRemove} />}
        </span>
      </header>
      {lines.length === 0 ? (
        <div className="plot">
          <div className="msg">None of the runs has a start time.</div>
        </div>
      ) : (
        <div className="gantt" tabIndex={0} role="region" aria-label="Timeline of runs">
          <div className="axis" aria-hidden="true">
            {ticks.map(({ at, label }) => (
              <span key={at} style={{ left: `${at * 100}%` }}>
                {label}
              </span>
            ))}
          </div>
          <ul>
            {lines.map(({ run, from, to, lasts }) => (
              <li key={run.id}>
                <Link href={path("runs", run.id)} className="cut">
                  {run.name}
                </Link>
                <span className="track" title={`${run.status.toLowerCase()}, from ${exact(run.start!)}${run.end ? ` to ${exact(run.end)}` : ""}, ${duration(lasts)}`}>
                  <span className={`bar ${run.status.toLowerCase()}`} style={{ left: `${from * 100}%`, width: `${(to - from) * 100}%` }} />
                </span>
                <span className="num faint">
                  {duration(lasts)}
                  <span className="sr"> {run.status.toLowerCase()}</span>
                </span>
              </li>
            ))}
          </ul>
        </div>
      )}
      {full && (
        <Dialog title="Timeline" className="full" onClose={() => setFull(false)}>
          <div className="dialog-chart">
            <Timeline runs={runs} wide />
          </div>
        </Dialog>
      )}
    </div>
  );
}
