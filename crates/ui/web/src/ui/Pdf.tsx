// PDF drawn to canvases: a document never becomes a page of its own here.

import { GlobalWorkerOptions, getDocument } from "pdfjs-dist";
import worker from "pdfjs-dist/build/pdf.worker.min.mjs?url";
import { useEffect, useRef, useState } from "react";
import { ErrorNote, Skeleton } from "./kit";

GlobalWorkerOptions.workerSrc = worker;
const MOST_PAGES = 50;

export default function Pdf({ data }: { data: Uint8Array }) {
  const box = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<{ pages: number } | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    let gone = false;
    // The worker takes the bytes away: it gets its own.
    const task = getDocument({ data: data.slice(), isEvalSupported: false, useSystemFonts: true, disableFontFace: true });
    (async () => {
      const pdf = await task.promise;
      if (gone) return;
      setState({ pages: pdf.numPages });
      box.current?.replaceChildren();
      for (let number = 1; number <= Math.min(pdf.numPages, MOST_PAGES) && !gone; number++) {
        const page = await pdf.getPage(number);
        const viewport = page.getViewport({ scale: 1.5 * devicePixelRatio });
        const canvas = document.createElement("canvas");
        canvas.width = viewport.width;
        canvas.height = viewport.height;
        canvas.style.width = `${viewport.width / devicePixelRatio}px`;
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `Page ${number} of ${pdf.numPages}`);
        if (gone) return;
        box.current?.append(canvas);
        await page.render({ canvas, viewport }).promise;
      }
    })().catch((failure: unknown) => !gone && setError(failure));
    return () => {
      gone = true;
      void task.destroy();
    };
  }, [data]);
  if (error !== null) {
    return (
      <div className="pad">
        <ErrorNote error={new Error("This PDF cannot be drawn here. Download it instead.")} />
      </div>
    );
  }
  return (
    <>
      {!state && <Skeleton />}
      <div className="pdf" ref={box} />
      {state && state.pages > MOST_PAGES && <p className="pad faint">The first {MOST_PAGES} of {state.pages} pages.</p>}
    </>
  );
}
