// Measures the web app on a lake of data/ui/many.py:
//
//     node tests/ui/bench.mjs http://127.0.0.1:5000 [--direct] [--mlflow http://127.0.0.1:5900]
//
// With --mlflow the stock app of an MLflow server is measured as well, on what data/ui/many.py wrote there; fewer runs will
// do, since it shows a hundred at a time (--runs 1000 --curves 20).

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";

const options = process.argv.slice(2);
const mlflow = options.includes("--mlflow") ? options[options.indexOf("--mlflow") + 1] : null;
const [server = "http://127.0.0.1:5000"] = options.filter((text, i) => !text.startsWith("--") && options[i - 1] !== "--mlflow");
const find = async (name, at = server) => (await (await fetch(`${at}/api/2.0/mlflow/experiments/get-by-name?experiment_name=${name}`)).json()).experiment?.experiment_id;
const [many, curves] = [await find("bench/many"), await find("bench/curves")];
const { url, close } = options.includes("--direct") ? { url: server, close() {} } : await serve(server);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync), args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
page.setDefaultTimeout(120_000);
const told = (what, value) => console.log(`${what.padEnd(64)} ${value}`);

// Looked at in every frame: the waiting of locators is coarser than what is measured.
const seen = (of, selector, count) => of.waitForFunction(([one, least]) => document.querySelectorAll(one).length >= least, [selector, count], { polling: "raf" });
const ROWS = "[role=grid] .gr";

// The first answer of a server builds its index; that is not what is measured here.
await page.goto(`${url}/experiments/${many}?view=table`);
await page.getByRole("row").nth(5).waitFor();

for (const visit of ["first visit", "again, with the cache"]) {
  if (visit === "first visit") await (await page.context().newCDPSession(page)).send("Network.clearBrowserCache");
  const start = Date.now();
  await page.goto(`${url}/experiments/${many}?view=table`, { waitUntil: "commit" });
  await seen(page, ROWS, 5);
  told(`rows of ${many ? "bench/many" : "?"} visible, ${visit}`, `${Date.now() - start} ms`);
}

await page.waitForTimeout(500);
// A notch of a mouse wheel a frame, and two.
for (const pixels of [120, 240]) {
  const frames = await page.evaluate(async (pixels) => {
    const grid = document.querySelector("[role=grid]");
    const gaps = [];
    let last = performance.now();
    const end = last + 4000;
    return new Promise((resolve) => {
      const frame = (now) => {
        gaps.push(now - last);
        last = now;
        grid.scrollTop += pixels;
        if (now < end) requestAnimationFrame(frame);
        else {
          gaps.sort((a, b) => a - b);
          const total = gaps.reduce((a, b) => a + b, 0);
          resolve({ fps: (gaps.length / total) * 1000, p95: gaps[Math.floor(gaps.length * 0.95)], rows: Math.round(grid.scrollTop / 34) });
        }
      };
      requestAnimationFrame(frame);
    });
  }, pixels);
  told(`scrolling at ${pixels} pixels a frame, to row ${frames.rows}`, `${frames.fps.toFixed(0)} frames a second, p95 ${frames.p95.toFixed(1)} ms`);
}

{
  const start = Date.now();
  let last = 0;
  for (;;) {
    const count = await page.evaluate(() => {
      const grid = document.querySelector("[role=grid]");
      grid.scrollTop = grid.scrollHeight;
      return Number(grid.getAttribute("aria-rowcount")) - 1;
    });
    if (count === last && count >= 99_000) break;
    if (Date.now() - start > 120_000) break;
    last = count;
    await page.waitForTimeout(100);
  }
  const heap = await page.evaluate(() => performance.memory?.usedJSHeapSize ?? 0);
  told(`all ${last} rows loaded by holding the end`, `${((Date.now() - start) / 1000).toFixed(1)} s, ${(heap / 1e6).toFixed(0)} MB of heap`);
}

{
  const start = Date.now();
  await page.goto(`${url}/experiments/${many}?view=table&sort=metrics.metric_3:desc`, { waitUntil: "commit" });
  await seen(page, ROWS, 5);
  told("rows by another metric, from navigation", `${Date.now() - start} ms`);
}

for (const draw of [100, 1000]) {
  await page.goto(`${url}/experiments/${curves}?view=table`);
  await seen(page, ROWS, 5);
  const start = Date.now();
  await page.goto(`${url}/experiments/${curves}?view=charts&draw=${draw}`, { waitUntil: "commit" });
  await page.waitForFunction((wanted) => Number(/: (\d+) lines/.exec(document.querySelector(".chart .plot")?.getAttribute("aria-label") ?? "")?.[1]) >= wanted, draw, { polling: "raf" });
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  told(`${draw} curves in one card, from navigation`, `${Date.now() - start} ms`);
}

if (mlflow) {
  const [many, curves] = [await find("bench/many", mlflow), await find("bench/curves", mlflow)];
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.setDefaultTimeout(120_000);
  for (const visit of ["first visit", "again, with the cache"]) {
    await page.goto("about:blank");
    const start = Date.now();
    await page.goto(`${mlflow}/#/experiments/${many}/runs`, { waitUntil: "commit" });
    await seen(page, ".ag-center-cols-container .ag-row", 5);
    told(`MLflow: rows visible, ${visit}`, `${Date.now() - start} ms`);
  }
  await page.goto("about:blank");
  const start = Date.now();
  await page.goto(`${mlflow}/#/experiments/${curves}/runs?compareRunsMode=CHART`, { waitUntil: "commit" });
  await page.locator(".scatterlayer .trace").first().waitFor({ state: "attached" });
  let [traces, drawn] = [0, Date.now()];
  // Until no more have come for a while: MLflow draws those it has.
  while (Date.now() - drawn < 5000) {
    const now = await page.locator(".scatterlayer .trace").count();
    if (now !== traces) [traces, drawn] = [now, Date.now()];
    await page.waitForTimeout(20);
  }
  told(`MLflow: ${traces} curves in one card, from navigation`, `${drawn - start} ms`);
}

await browser.close();
close();
