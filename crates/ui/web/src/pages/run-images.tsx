// The images of some runs side by side, with a slider over steps.

import { useQueries } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { artifacts } from "../api/calls";
import type { Run } from "../api/types";
import { MEDIA_TYPES, extension } from "../lib/artifacts";
import { colorOf } from "../lib/color";
import { type ImageFile, atStep, imageOf } from "../lib/images";
import { Link, path as route } from "../router";
import { Empty, Skeleton } from "../ui/kit";

const MOST_FOLDERS = 12;

async function imagesOf(runId: string): Promise<ImageFile[]> {
  const root = { kind: "run", id: runId } as const;
  const out: ImageFile[] = [];
  const folders = [""];
  for (let i = 0; i < folders.length && i < MOST_FOLDERS; i++) {
    for (const file of await artifacts.list(root, folders[i]!)) {
      const path = folders[i] && !file.path.startsWith(`${folders[i]}/`) ? `${folders[i]}/${file.path}` : file.path;
      if (file.is_dir) folders.push(path);
      else {
        const image = imageOf(path);
        if (image) out.push(image);
      }
    }
  }
  return out;
}

export function RunImages({ runs }: { runs: Run[] }) {
  const shown = runs.slice(0, 12);
  const lists = useQueries({ queries: shown.map(({ id }) => ({ queryKey: ["images", id], queryFn: () => imagesOf(id), staleTime: 60_000, retry: false })) });
  const pending = lists.some(({ isPending }) => isPending);
  const keys = useMemo(() => [...new Set(lists.flatMap(({ data }) => (data ?? []).map(({ key }) => key)))].sort(), [lists]);
  const [chosen, setChosen] = useState<string | null>(null);
  const key = chosen && keys.includes(chosen) ? chosen : (keys[0] ?? "");
  const steps = useMemo(() => [...new Set(lists.flatMap(({ data }) => (data ?? []).filter((file) => file.key === key && file.step !== null).map(({ step }) => step!)))].sort((a, b) => a - b), [lists, key]);
  const [at, setAt] = useState<number | null>(null);
  const place = Math.min(at ?? steps.length - 1, steps.length - 1);
  if (pending && keys.length === 0) return <Skeleton />;
  if (keys.length === 0) {
    return (
      <Empty title="These runs have no images" code={`mlflow.log_image(image, key="samples", step=step)`}>
        <p>Images logged with a key and a step can be compared over steps here.</p>
      </Empty>
    );
  }
  return (
    <div className="page">
      <div className="controls">
        <label>
          Image
          <select className="select" value={key} onChange={(event) => setChosen(event.target.value)}>
            {keys.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        {steps.length > 1 && (
          <label>
            Step
            <input type="range" min={0} max={steps.length - 1} value={place} onChange={(event) => setAt(Number(event.target.value))} />
            <span className="num">{steps[place]}</span>
          </label>
        )}
        {runs.length > shown.length && <span className="faint">The first {shown.length} runs</span>}
      </div>
      <div className="charts">
        <div className="cards" style={{ paddingTop: 12 }}>
          {shown.map((run, i) => {
            const file = atStep((lists[i]?.data ?? []).filter((one) => one.key === key), steps.length > 0 ? steps[place]! : null);
            return (
              <figure key={run.id} className="chart" style={{ height: 300 }}>
                <header>
                  <span className="dot" style={{ background: colorOf(run.id) }} />
                  <h3 className="cut">
                    <Link href={route("runs", run.id)}>{run.name}</Link>
                  </h3>
                  {file?.step !== null && file && <span className="faint num">step {file.step}</span>}
                </header>
                <div className="plot" style={{ display: "grid", placeItems: "center", padding: 10 }}>
                  {file ? <Picture run={run} file={file} /> : <span className="faint">none</span>}
                </div>
              </figure>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function Picture({ run, file }: { run: Run; file: ImageFile }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    let made: string | null = null;
    const stop = new AbortController();
    artifacts
      .read({ kind: "run", id: run.id }, file.path, stop.signal)
      .then((answer) => answer.arrayBuffer())
      .then((data) => {
        if (stop.signal.aborted) return;
        made = URL.createObjectURL(new Blob([data], { type: MEDIA_TYPES[extension(file.path)] ?? "application/octet-stream" }));
        setUrl(made);
      })
      .catch(() => {});
    return () => {
      stop.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [run.id, file.path]);
  return url ? <img src={url} alt={`${file.key} of ${run.name}`} style={{ maxWidth: "100%", maxHeight: 240 }} /> : null;
}
