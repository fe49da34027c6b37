// What was done to a registered model, and by whom.

import { useQuery } from "@tanstack/react-query";
import { registry } from "../api/calls";
import { exact, plural, when } from "../lib/format";
import { told } from "../lib/registry";
import { setSearch, useLocation } from "../router";
import { Icon, type IconName } from "../ui/icons";
import { ErrorNote, Skeleton } from "../ui/kit";

const EVENT_ICONS: [RegExp, IconName][] = [
  [/created/, "plus"], [/stage/, "sort"], [/alias|tag/, "tag"], [/approved/, "check"], [/rejected|deleted/, "close"], [/policy/, "settings"], [/requested/, "help"], [/./, "edit"],
];

export function History({ name }: { name: string }) {
  const { search } = useLocation();
  const only = search.get("version") ?? "";
  const events = useQuery({ queryKey: ["history", name], queryFn: () => registry.history(name) });
  if (events.error) return <ErrorNote error={events.error} retry={() => void events.refetch()} />;
  if (!events.data) return <Skeleton />;
  const versions = [...new Set(events.data.map(({ version }) => version).filter((version) => version !== undefined))].sort((a, b) => Number(b) - Number(a));
  const shown = [...events.data].reverse().filter(({ version }) => !only || version === only);
  return (
    <div className="stack" style={{ maxWidth: 860 }}>
      <div className="row">
        <span className="soft grow">{plural(shown.length, "event")}, newest first. Nothing is ever taken out of it.</span>
        <label className="row soft">
          Version
          <select className="select" value={only} onChange={(event) => setSearch({ version: event.target.value })}>
            <option value="">all</option>
            {versions.map((version) => (
              <option key={version}>{version}</option>
            ))}
          </select>
        </label>
      </div>
      <ol className="card timeline">
        {shown.map((event) => (
          <li key={event.event_id}>
            <Icon name={EVENT_ICONS.find(([pattern]) => pattern.test(event.action))![1]} />
            <span>
              <b>{event.actor ?? "Somebody"}</b> {told(event)}
              {event.comment && <span className="soft"> “{event.comment}”</span>}
            </span>
            <time className="faint num" dateTime={new Date(event.time).toISOString()} title={exact(event.time)}>
              {when(event.time)}
            </time>
          </li>
        ))}
      </ol>
    </div>
  );
}
