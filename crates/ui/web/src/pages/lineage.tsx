import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { lineage } from "../api/calls";
import type { Lineage, LineageNode } from "../api/types";
import { NODE_HEIGHT, NODE_WIDTH, bundled, inWords, layout, nameOf } from "../lib/registry";
import { Link, path, setSearch, useLocation } from "../router";
import { ErrorNote, Skeleton } from "../ui/kit";
import { TopBar } from "./shared";

const KINDS: Record<LineageNode["kind"], string> = { dataset: "Dataset", run: "Run", logged_model: "Logged model", model_version: "Version", alias: "Alias" };

export default function LineagePage() {
  const { search } = useLocation();
  const of = search.get("of") ?? "";
  return (
    <>
      <TopBar crumbs={[{ label: "Models", href: "/models" }, { label: "Lineage" }]} />
      <div className="page">
        <div className="pad" style={{ maxWidth: "none" }}>
          {of ? <LineageView of={of} onFocus={(id) => setSearch({ of: id }, { push: true })} /> : <p className="soft">Open the lineage of a run, a dataset or a model version from its page.</p>}
        </div>
      </div>
    </>
  );
}

type Direction = "both" | "up" | "down";

/** What a thing was made of and what was made of it: in words, then as a picture in which every box can be asked in turn. */
export function LineageView({ of, onFocus }: { of: string; onFocus?: (id: string) => void }) {
  const [direction, setDirection] = useState<Direction>("both");
  const answer = useQuery({ queryKey: ["lineage", of, direction], queryFn: () => lineage(of, direction), placeholderData: (previous) => previous });
  if (answer.error) return <ErrorNote error={answer.error} retry={() => void answer.refetch()} />;
  if (!answer.data) return <Skeleton />;
  return (
    <div className="stack" style={{ gap: 14 }}>
      <div className="row">
        <div className="seg" role="group" aria-label="Direction">
          {(["both", "up", "down"] as const).map((id) => (
            <button key={id} type="button" aria-pressed={direction === id} onClick={() => setDirection(id)}>
              {{ both: "Both ways", up: "Made of", down: "Used in" }[id]}
            </button>
          ))}
        </div>
        <span className="mono faint cut">{of}</span>
      </div>
      <div className="words" aria-live="polite">
        {inWords(answer.data).map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
        {answer.data.truncated && <p className="faint">Only the 10,000 nearest are shown.</p>}
      </div>
      <Picture data={answer.data} onFocus={onFocus} />
    </div>
  );
}

const MOST = 300;

function Picture({ data, onFocus }: { data: Lineage; onFocus?: (id: string) => void }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const { lineage: short, bundles } = useMemo(() => bundled(data, open), [data, open]);
  const cut = short.nodes.length > MOST;
  const picture = useMemo(() => layout(cut ? { ...short, nodes: short.nodes.slice(0, MOST) } : short), [short, cut]);
  const box = useRef<HTMLDivElement>(null);
  const start = picture.nodes.find(({ node }) => data.start.includes(node.id));
  useEffect(() => {
    const el = box.current;
    if (el && start) el.scrollTo({ top: start.y - el.clientHeight / 2 + NODE_HEIGHT / 2, left: start.x - el.clientWidth / 2 + NODE_WIDTH / 2 });
    // When something else is in focus; a bundle that opens leaves the view where it is.
    // eslint-disable-next-line
  }, [data]);
  const [hot, setHot] = useState<string | null>(null);
  return (
    <>
      {cut && <p className="faint">The {MOST} nearest of {short.nodes.length} are drawn.</p>}
      <div className="lineage" ref={box} style={{ maxHeight: "64vh" }} tabIndex={0} role="region" aria-label="Lineage as a picture">
        <div style={{ position: "relative", width: picture.width, height: picture.height }}>
          <svg width={picture.width} height={picture.height} aria-hidden="true">
            {picture.edges.map(({ from, to }, i) => {
              const [x1, y1, x2, y2] = [from.x + NODE_WIDTH, from.y + NODE_HEIGHT / 2, to.x, to.y + NODE_HEIGHT / 2];
              const bend = Math.max(30, (x2 - x1) / 2);
              return <path key={i} className={`edge ${hot === from.node.id || hot === to.node.id ? "hot" : ""}`} d={`M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`} />;
            })}
          </svg>
          <div className="nodes">
            {picture.nodes.map(({ node, x, y }) => {
              const bundle = bundles.get(node.id);
              if (bundle) {
                return (
                  <button key={node.id} type="button" className={`node k-${node.kind}`} style={{ left: x, top: y }} onClick={() => setOpen(new Set([...open, node.id]))}>
                    <span className="kind">{KINDS[node.kind]}s</span>
                    <b className="cut">and {bundle.count} more</b>
                  </button>
                );
              }
              const href = hrefOf(node);
              const props = {
                className: `node k-${node.kind} ${data.start.includes(node.id) ? "start" : ""} ${node.known ? "" : "unknown"}`,
                style: { left: x, top: y },
                title: node.id,
                onPointerEnter: () => setHot(node.id),
                onPointerLeave: () => setHot(null),
                onFocus: () => setHot(node.id),
                onBlur: () => setHot(null),
              };
              const inside = (
                <>
                  <span className="kind">
                    {KINDS[node.kind]}
                    {node.kind === "dataset" && `, ${node.id.split("@").at(-1)}`}
                    {node.stage && node.stage !== "None" ? `, ${node.stage}` : ""}
                    {node.lifecycle_stage === "deleted" ? ", deleted" : ""}
                  </span>
                  <b className="cut">{node.kind === "alias" ? `@${nameOf(node).split("@").at(-1)}` : nameOf(node)}</b>
                </>
              );
              return onFocus && !data.start.includes(node.id) ? (
                <button key={node.id} type="button" {...props} onClick={() => onFocus(node.id)}>
                  {inside}
                </button>
              ) : href ? (
                <Link key={node.id} href={href} {...props}>
                  {inside}
                </Link>
              ) : (
                <div key={node.id} {...props}>
                  {inside}
                </div>
              );
            })}
          </div>
        </div>
      </div>
      <p className="faint">Choose a box to look from there. The page of what is in focus opens from its own box.</p>
    </>
  );
}

function hrefOf(node: LineageNode): string | null {
  if (!node.known) return null;
  if (node.kind === "run") return path("runs", node.id.replace(/^run:/, ""));
  if (node.kind === "logged_model") return path("logged-models", node.id.replace(/^models:\//, ""));
  const version = /^models:\/(.+)\/([^/]+)$/.exec(node.id);
  if (node.kind === "model_version" && version) return path("models", version[1]!, version[2]!);
  const alias = /^models:\/(.+)@[^@]+$/.exec(node.id);
  if (node.kind === "alias" && alias) return path("models", alias[1]!);
  return null;
}
