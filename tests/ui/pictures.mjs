// Makes the pictures of README.md anew, from data/ui/seed.py:
//
//     node tests/ui/pictures.mjs target/debug/runlake [docs/images] [--dist]
//
// It starts a server of its own on a lake that is removed afterwards. PYTHON names a Python with requests, CHROMIUM the
// browser if it is not the system's. With --dist the app comes from crates/ui/web/dist instead of from the binary.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const [binary = join(root, "target/debug/runlake"), folder = join(root, "docs/images")] = process.argv.slice(2).filter((text) => !text.startsWith("--"));
const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const lake = mkdtempSync(join(tmpdir(), "runlake-pictures-"));
const base = `http://127.0.0.1:${port}`;
const child = spawn(binary, ["server", "--lake", join(lake, "lake"), "--host", "127.0.0.1", "--port", String(port)], { stdio: "ignore" });
const ended = new Promise((resolve) => child.once("exit", resolve));

async function pictures() {
  for (let i = 0; !(await fetch(`${base}/health`).then(({ ok }) => ok, () => false)); i++) {
    if (i > 300) throw new Error(`${binary} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const seeded = spawnSync(process.env.PYTHON ?? "python3", [join(root, "data/ui/seed.py"), base], { stdio: ["ignore", "pipe", "inherit"] });
  if (seeded.status !== 0) throw new Error("data/ui/seed.py failed; it needs a Python with requests (PYTHON names it)");
  const { experiment, run } = JSON.parse(seeded.stdout.toString());
  const search = async (filter, most) => {
    const body = JSON.stringify({ experiment_ids: [experiment], filter, order_by: ["metrics.`valid/accuracy` DESC"], max_results: most });
    const answer = await fetch(`${base}/api/2.0/mlflow/runs/search`, { method: "POST", headers: { "content-type": "application/json" }, body });
    return (await answer.json()).runs.map(({ info }) => info.run_id);
  };
  const best = await search("attributes.status = 'FINISHED'", 4);
  const query = "SELECT p.value AS optimizer, d.value AS depth, count(*) AS runs, avg(m.value) AS accuracy, max(m.max) AS best\nFROM latest_metrics m\nJOIN params p ON p.run_id = m.run_id AND p.key = 'optimizer'\nJOIN params d ON d.run_id = m.run_id AND d.key = 'depth'\nWHERE m.key = 'valid/accuracy'\nGROUP BY 1, 2 ORDER BY accuracy DESC";
  const ready = {
    runs: { at: `/experiments/${experiment}?smooth=0.5`, seen: (page) => page.locator(".chart:not(.lazy) canvas").nth(1).waitFor() },
    compare: { at: `/compare?runs=${best.join(",")}`, seen: (page) => page.getByRole("rowheader", { name: "learning_rate", exact: true }).waitFor() },
    sql: {
      at: `/sql?q=${encodeURIComponent(query)}&run=1`,
      seen: async (page) => {
        await page.getByText(/\d+ rows, \d+ columns/).waitFor();
        await page.getByRole("button", { name: "Chart" }).click();
        await page.locator(".echart canvas").waitFor();
      },
    },
    lineage: { at: "/models/birds-classifier/lineage", seen: (page) => page.getByText(/was made by run/).waitFor() },
    artifacts: { at: `/runs/${run}/artifacts?path=tables/predictions.parquet`, seen: (page) => page.getByText(/\d+ rows, \d+ columns/).waitFor(), dark: true },
  };
  mkdirSync(folder, { recursive: true });
  const front = process.argv.includes("--dist") ? await serve(base) : { url: base, close() {} };
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync), args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  for (const [name, { at, seen, dark }] of Object.entries(ready)) {
    const page = await browser.newPage({ viewport: { width: 1360, height: 800 }, colorScheme: dark ? "dark" : "light", reducedMotion: "reduce" });
    await page.goto(front.url + at);
    await seen(page);
    await page.waitForTimeout(1000);
    await page.screenshot({ path: join(folder, `${name}.png`) });
    await page.close();
    console.log(join(folder, `${name}.png`));
  }
  await browser.close();
  front.close();
}

try {
  await pictures();
} finally {
  child.kill("SIGTERM");
  await ended;
  rmSync(lake, { recursive: true, force: true });
}
