// Walks every page of the web app in a real browser, against a server with the lake of data/ui/seed.py:
//
//     node tests/ui/run.mjs http://127.0.0.1:5000 target/screenshots [--direct] [--binary target/debug/runlake]
//
// Without --direct the app comes from crates/ui/web/dist, with --direct from the server itself. With --binary the log-in
// and approvals are walked as well, against a server of their own that knows users. The browser is the one of CHROMIUM,
// or the system's. Screenshots go into the folder. The last line says how many passed and failed.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";

const require = createRequire(import.meta.url);
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const options = process.argv.slice(2);
const flag = (name) => options.includes(name);
const binary = flag("--binary") ? options[options.indexOf("--binary") + 1] : null;
const only = flag("--only") ? options[options.indexOf("--only") + 1] : null;
const [server = "http://127.0.0.1:5000", folder = "screenshots"] = options.filter((text, i) => !text.startsWith("--") && !["--binary", "--only"].includes(options[i - 1]));
mkdirSync(folder, { recursive: true });

const api = async (path, body, base = server, headers = {}) => {
  const answer = await fetch(`${base}/api/2.0/mlflow/${path}`, body ? { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) } : { headers });
  return answer.json();
};
const experimentOf = async (name) => (await api(`experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`)).experiment?.experiment_id;
const runsOf = async (id, filter = "", order = "attributes.start_time ASC", most = 50) => ((await api("runs/search", { experiment_ids: [id], filter, order_by: [order], max_results: most })).runs ?? []).map(({ info }) => info.run_id);

const vision = await experimentOf("vision/classification/resnet");
assert(vision, `there is no lake of data/ui/seed.py behind ${server}: run data/ui/seed.py first`);
const [artifactsRun] = await runsOf(vision, "", "attributes.start_time ASC", 1);
const evil = (await api("experiments/search", { max_results: 1000, filter: "name LIKE 'probe/%'" })).experiments?.[0]?.experiment_id;
const [evilRun] = await runsOf(evil);
const hasSql = (await fetch(`${server}/api/runlake/sql`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ sql: "SELECT 1" }) })).ok;

const { url, close } = flag("--direct") ? { url: server, close() {} } : await serve(server);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync), args: ["--no-sandbox", "--disable-dev-shm-usage"] });

let passed = 0;
let failed = 0;
const complaints = [];

async function open(theme = "light", size = { width: 1440, height: 900 }) {
  const context = await browser.newContext({ viewport: size, colorScheme: theme, acceptDownloads: true, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    const text = message.text();
    // Frames of artifacts say that their scripts were held back: as they should. Probing requests answer with errors.
    if (/script-src 'none'|Failed to load resource|EventSource/.test(text)) return;
    complaints.push(`${page.url()}: ${text.slice(0, 300)}`);
  });
  return page;
}

async function check(name, action) {
  if (only && !name.includes(only)) return;
  const start = Date.now();
  const page = await open(name.endsWith("(dark)") ? "dark" : "light");
  try {
    await action(page);
    passed++;
    console.log(`ok    ${name} (${Date.now() - start} ms)`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}: ${error.message.split("\n").slice(0, 12).join("\n      ")}`);
    await page.screenshot({ path: join(folder, `failed-${name.replace(/\W+/g, "-")}.png`) }).catch(() => {});
  } finally {
    await page.context().close();
  }
}

async function shot(page, name) {
  await page.mouse.move(0, 0);
  await page.waitForTimeout(250);
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** What axe calls serious or critical is a failure. */
async function accessible(page) {
  await page.waitForTimeout(150);
  // Through the protocol: the page's policy allows no script of others.
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"], iframes: false }));
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.equal(bad.length, 0, bad.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary?.split("\n")[1] ?? ""}`).join(" | ")}`).join("\n"));
}

const cards = (page) => page.locator(".chart:not(.lazy)");
const rows = (page) => page.getByRole("row");
const gridCount = async (page) => Number(await page.getByRole("grid").first().getAttribute("aria-rowcount")) - 1;

// 1. Experiments

await check("experiments: tree, search, counts", async (page) => {
  await page.goto(url);
  await page.getByRole("link", { name: "classification/resnet" }).waitFor();
  await page.getByText(/\d+ experiments, \d+ runs/).waitFor();
  await shot(page, "experiments");
  await accessible(page);
  await page.keyboard.press("/");
  await page.keyboard.type("unet");
  await page.getByRole("link", { name: "vision/segmentation/unet" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "scratch" }).count(), 0);
  assert.match(page.url(), /q=unet/);
});

await check("experiments: create, rename, delete, restore", async (page) => {
  const name = `made/by/test-${Date.now()}`;
  await page.goto(url);
  await page.getByRole("button", { name: "New experiment" }).click();
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("No runs yet").waitFor();
  await shot(page, "runs-empty");
  await accessible(page);
  await page.goto(`${url}/?q=${name.split("/").pop()}`);
  await page.getByRole("button", { name: `Actions for ${name}` }).click();
  await page.getByRole("menuitem", { name: "Rename…" }).click();
  await page.getByLabel("Name", { exact: true }).fill(`${name}-new`);
  await page.getByRole("button", { name: "Rename", exact: true }).click();
  await page.getByRole("button", { name: `Actions for ${name}-new` }).click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("No experiment has such a name").waitFor();
  await page.getByRole("button", { name: "Deleted", exact: true }).click();
  await page.getByRole("button", { name: `Actions for ${name}-new` }).click();
  await page.getByRole("menuitem", { name: "Restore" }).click();
  await page.getByRole("button", { name: "Active", exact: true }).click();
  await page.locator(".tree").getByRole("link", { name: new RegExp(name.split("/").pop()) }).waitFor();
});

// 2. Runs

await check("runs: first look", async (page) => {
  await page.goto(`${url}/experiments/${vision}`);
  await cards(page).nth(1).locator("canvas").waitFor();
  assert.equal(await gridCount(page), 160);
  await page.waitForTimeout(500);
  await shot(page, "runs");
  await accessible(page);
});

await check("runs: first look (dark)", async (page) => {
  await page.goto(`${url}/experiments/${vision}?smooth=0.6`);
  await cards(page).nth(1).locator("canvas").waitFor();
  await page.waitForTimeout(500);
  await shot(page, "runs-dark");
  await accessible(page);
});

await check("runs: filter with completion, kept in the address", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=table`);
  const filter = page.getByRole("combobox", { name: "Filter of runs" });
  await rows(page).nth(3).waitFor();
  await filter.click();
  await filter.pressSequentially("params.opt");
  await page.getByRole("option", { name: /params.optimizer/ }).waitFor();
  await shot(page, "runs-completion");
  await filter.press("Tab");
  await filter.pressSequentially("= 'ad");
  await page.getByRole("option", { name: "'adamw'" }).waitFor().catch(() => {});
  await filter.fill("params.optimizer = 'adam' AND metrics.`train/loss`.min < 0.3");
  await filter.press("Enter");
  await page.waitForURL(/q=/);
  await page.waitForFunction(() => Number(document.querySelector("[role=grid]")?.getAttribute("aria-rowcount")) < 100);
  const filtered = await gridCount(page);
  assert(filtered > 0 && filtered < 80, `${filtered} runs`);
  await page.reload();
  await rows(page).nth(2).waitFor();
  assert.equal(await gridCount(page), filtered);
  await filter.fill("metrics.loss <");
  await filter.press("Enter");
  await page.getByText("A value is missing").waitFor();
  await filter.fill("params.nothing = 'x'");
  await filter.press("Enter");
  await page.getByText("No run fits the filter").waitFor();
});

await check("runs: columns, sort, pin, hide what is constant", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=table`);
  await rows(page).nth(3).waitFor();
  await page.getByRole("button", { name: "Columns", exact: true }).click();
  await page.getByPlaceholder("Search columns").fill("epochs");
  await page.getByLabel("epochs").check();
  await page.keyboard.press("Escape");
  await page.getByRole("columnheader", { name: /epochs/ }).waitFor();
  await page.getByRole("button", { name: "Only columns that differ" }).click();
  await page.getByRole("columnheader", { name: /epochs/ }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Sort by valid/accuracy" }).click();
  await page.waitForURL(/sort=metrics\.valid\/accuracy:desc/);
  await page.getByRole("columnheader", { name: /valid\/accuracy/ }).and(page.locator("[aria-sort=descending]")).waitFor();
  await page.waitForTimeout(300);
  const column = await page.getByRole("columnheader", { name: /valid\/accuracy/ }).getAttribute("aria-colindex");
  const values = await page.locator(`[role=gridcell][aria-colindex="${column}"]`).allInnerTexts();
  const numbers = values.map(Number).filter((value) => !Number.isNaN(value));
  assert(numbers.length > 5 && numbers.every((value, i) => i === 0 || value <= numbers[i - 1]), numbers.slice(0, 8).join());
  await page.getByRole("columnheader", { name: /valid\/accuracy/ }).hover();
  await page.getByRole("button", { name: "Column valid/accuracy" }).click();
  await page.getByRole("menuitemcheckbox", { name: "Pin to the left" }).click();
  await page.waitForURL(/pin=/);
  await shot(page, "runs-table");
});

await check("runs: a colour is chosen for table and charts", async (page) => {
  await page.goto(`${url}/experiments/${vision}?draw=3&m=train/loss`);
  await cards(page).first().locator("canvas").waitFor();
  const swatch = page.locator("button.swatch").first();
  const name = await swatch.getAttribute("aria-label");
  await swatch.click();
  await page.locator(".swatch-field").evaluate((field) => {
    field.value = "#123456";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.locator(".swatch-field").waitFor({ state: "detached" });
  const color = () => page.getByRole("button", { name, exact: true }).evaluate((el) => getComputedStyle(el).backgroundColor);
  assert.equal(await color(), "rgb(18, 52, 86)");
  await page.reload();
  await page.getByRole("button", { name, exact: true }).waitFor();
  assert.equal(await color(), "rgb(18, 52, 86)");
});

await check("runs: columns are moved and widened by hand", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=table&cols=params.depth,params.optimizer,params.dropout`);
  await rows(page).nth(3).waitFor();
  const head = (name) => page.locator(`[role=columnheader][title="${name}"]`);
  const before = await head("depth").boundingBox();
  await page.mouse.move(before.x + before.width - 3, before.y + 16);
  await page.mouse.down();
  await page.mouse.move(before.x + before.width + 77, before.y + 16, { steps: 8 });
  await page.mouse.up();
  const after = await head("depth").boundingBox();
  assert(Math.abs(after.width - before.width - 80) < 4, `${before.width} to ${after.width}`);
  await head("dropout").dragTo(head("depth"));
  await page.waitForURL(/cols=params\.dropout,params\.depth,params\.optimizer/);
});

await check("runs: groups with aggregates, bands", async (page) => {
  await page.goto(`${url}/experiments/${vision}?group=params.optimizer&bands=1`);
  await page.getByRole("button", { name: "Runs of the group adam", exact: true }).waitFor();
  assert.equal(await gridCount(page), 3);
  await cards(page).nth(1).locator("canvas").waitFor();
  await page.getByRole("button", { name: "Runs of the group adam", exact: true }).click();
  assert((await gridCount(page)) > 20);
  await page.getByRole("button", { name: "Axes and lines" }).click();
  await page.getByLabel("Bands reach").selectOption("deviation");
  await page.waitForURL(/spread=sd/);
  await page.keyboard.press("Escape");
  await page.waitForTimeout(400);
  await shot(page, "runs-groups");
  await accessible(page);
});

await check("runs: child runs below their parents", async (page) => {
  const id = await experimentOf("tabular/churn/gradient-boosting");
  await page.goto(`${url}/experiments/${id}?tree=1&view=table`);
  await page.getByRole("button", { name: "Child runs of sweep-1" }).click();
  await page.getByRole("link", { name: "sweep-1-trial-1", exact: true }).waitFor();
  assert.equal(await gridCount(page), 11);
  await shot(page, "runs-tree");
});

await check("runs: select by keyboard, tag, delete, restore", async (page) => {
  const id = await experimentOf("scratch");
  await page.goto(`${url}/experiments/${id}?view=table`);
  await rows(page).nth(2).waitFor();
  await page.locator("body").press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.getByText("2 selected").waitFor();
  await page.getByRole("button", { name: "Tag…" }).click();
  await page.getByLabel("Tag, as key=value").fill("reviewed=yes");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByText("Tagged 2 runs.").waitFor();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("Deleted 2 runs.").waitFor();
  await page.waitForFunction(() => document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") === "2");
  await page.getByLabel("Which runs").selectOption("deleted");
  await page.getByLabel("Select all loaded runs").check();
  await page.getByRole("button", { name: "Restore" }).click();
  await page.getByText("Restored 2 runs.").waitFor();
  await page.getByLabel("Which runs").selectOption("active");
  await page.waitForFunction(() => document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") === "4");
});

await check("runs: all that fit the filter are tagged, loaded or not", async (page) => {
  const id = await experimentOf("ops/nightly");
  await page.goto(`${url}/experiments/${id}?view=table`);
  await rows(page).nth(3).waitFor();
  await page.getByLabel("Select all loaded runs").check();
  await page.getByRole("button", { name: /^Select all 420 that fit the filter/ }).click();
  await page.getByText("All 420 selected").waitFor();
  await accessible(page);
  await page.getByRole("button", { name: "Tag…" }).click();
  await page.getByRole("dialog", { name: "Tag all 420 runs that fit the filter" }).waitFor();
  const mark = `m${Date.now()}`;
  await page.getByLabel("Tag, as key=value").fill(`swept=${mark}`);
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByText("Tagged 420 runs.").waitFor();
  assert.equal((await runsOf(id, `tags.swept = '${mark}'`, "attributes.start_time ASC", 1000)).length, 420);
  // One box less is a selection of those that are loaded.
  await page.getByLabel("Select night-420").uncheck();
  await page.getByText("All 420 selected").waitFor({ state: "detached" });
});

await check("runs: sorted by duration and by dataset", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=table&cols=attributes.duration,attributes.dataset`);
  await rows(page).nth(3).waitFor();
  const cells = (column) => page.locator(`[role=gridcell][aria-colindex="${column}"]`).allInnerTexts();
  await page.getByRole("button", { name: "Sort by Duration" }).click();
  await page.getByRole("columnheader", { name: /Duration/ }).and(page.locator("[aria-sort=ascending]")).waitFor();
  await page.waitForFunction(() => /^1m 59s/.test(document.querySelector('[role=gridcell][aria-colindex="3"]')?.textContent ?? ""));
  await page.getByRole("button", { name: "Sort by Dataset" }).click();
  await page.getByRole("columnheader", { name: /Dataset/ }).and(page.locator("[aria-sort=ascending]")).waitFor();
  await page.waitForFunction(() => document.querySelector('[role=gridcell][aria-colindex="4"]')?.textContent === "birds (b1rd5v2)");
  await page.getByRole("button", { name: "Sort by Dataset" }).click();
  await page.waitForFunction(() => document.querySelector('[role=gridcell][aria-colindex="4"]')?.textContent === "birds (b1rd5v3)");
  assert((await cells(4)).slice(0, 5).every((text) => text === "birds (b1rd5v3)"));
});

await check("runs: the back button undoes", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=table`);
  await rows(page).nth(3).waitFor();
  await page.getByRole("button", { name: "Only columns that differ" }).click();
  await page.waitForURL(/vary=1/);
  await page.getByRole("button", { name: "Sort by valid/accuracy" }).click();
  await page.waitForURL(/sort=/);
  await page.goBack();
  await page.waitForFunction(() => !location.search.includes("sort=") && location.search.includes("vary=1"));
  await page.getByRole("button", { name: "Sort by valid/accuracy" }).waitFor();
  await page.goBack();
  await page.waitForFunction(() => !location.search.includes("vary="));
  await page.goForward();
  await page.waitForURL(/vary=1/);
});

await check("runs: saved views and export", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=table&q=params.optimizer+%3D+'sgd'`);
  await rows(page).nth(3).waitFor();
  const many = await gridCount(page);
  await page.getByRole("button", { name: "Views" }).click();
  await page.getByRole("menuitem", { name: "Save this view…" }).click();
  await page.getByLabel("Name", { exact: true }).fill("only sgd & no other");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // It is kept with the experiment: another browser has it as well.
  const other = await open();
  await other.goto(`${url}/experiments/${vision}?view=table`);
  await other.getByRole("button", { name: "Views" }).click();
  await other.getByRole("menuitem", { name: "only sgd & no other" }).click();
  await other.waitForURL(/sgd/);
  await other.waitForFunction((count) => document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") === String(count + 1), many);
  await other.getByRole("button", { name: "Views" }).click();
  await other.getByRole("button", { name: "Remove only sgd & no other" }).click();
  await other.getByRole("menuitem", { name: "only sgd & no other" }).waitFor({ state: "detached" });
  await other.context().close();
  await page.getByRole("button", { name: "Export" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "CSV" }).click()]);
  const text = readFileSync(await download.path(), "utf8");
  assert.equal(text.trim().split("\n").length, many + 1);
});

// 3. Charts

await check("charts: axes, zoom, full size, downloads", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=charts&m=train/loss&draw=10`);
  const card = cards(page).first();
  await card.locator("canvas").waitFor();
  await page.getByRole("button", { name: "Relative" }).click();
  await page.waitForURL(/x=relative/);
  await page.getByRole("button", { name: "Step" }).click();
  await page.waitForTimeout(300);
  const box = await card.locator(".u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
  await page.locator(".tip").waitFor();
  await shotHovering(page, "charts-hover");
  const asked = page.waitForRequest((request) => request.url().includes("/metrics/envelope") && request.url().includes("from_step="));
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await asked;
  await page.getByRole("button", { name: "Reset zoom" }).waitFor();
  await card.hover();
  await card.getByRole("button", { name: "Download loss" }).click();
  const [png] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "PNG" }).click()]);
  assert.equal(readFileSync(await png.path()).subarray(1, 4).toString(), "PNG");
  await card.hover();
  await card.getByRole("button", { name: "Download loss" }).click();
  const [svg] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "SVG" }).click()]);
  assert.match(readFileSync(await svg.path(), "utf8"), /^<svg .*<polyline/s);
  await card.hover();
  await card.getByRole("button", { name: "loss in full size" }).click();
  await page.locator("dialog .chart canvas").waitFor();
  await page.waitForTimeout(300);
  const ends = page.getByRole("dialog").getByLabel("Y to");
  await ends.fill("1.5");
  await ends.press("Enter");
  await page.getByRole("dialog").getByLabel("X from").fill("50");
  await page.getByRole("dialog").getByLabel("X from").press("Enter");
  await page.getByRole("dialog").getByRole("button", { name: "Reset zoom" }).waitFor();
  await page.waitForTimeout(300);
  await shot(page, "charts-full");
  await accessible(page);
});

async function shotHovering(page, name) {
  await page.waitForTimeout(200);
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

await check("charts: a metric as x axis", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=charts&m=valid/accuracy&draw=5`);
  await cards(page).first().locator("canvas").waitFor();
  await page.getByLabel("X axis by a metric").selectOption("valid/loss");
  await page.waitForURL(/x=metric/);
  const card = cards(page).first();
  await card.locator("canvas").waitFor();
  const box = await card.locator(".u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
  await page.locator(".tip .x", { hasText: /^valid\/loss \d/ }).waitFor();
  await shotHovering(page, "charts-metric-axis");
  await accessible(page);
  await page.getByRole("button", { name: "Step" }).click();
  await page.waitForFunction(() => !location.search.includes("metric"));
});

await check("charts: expressions of metrics", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=charts&draw=5`);
  await page.getByRole("button", { name: "Chart", exact: true }).click();
  await page.getByLabel("Kind").selectOption("expression");
  const text = page.getByLabel("Expression", { exact: true });
  await text.fill("train/loss - ");
  await page.getByText("Something is missing at the end.").waitFor();
  assert(await page.getByRole("button", { name: "Add", exact: true }).isDisabled());
  await accessible(page);
  await text.fill("log(valid/loss) - log(train/loss)");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const card = cards(page).first();
  await card.getByRole("heading", { name: "log(valid/loss) - log(train/loss)" }).waitFor();
  await card.getByRole("img", { name: /: 5 lines/ }).waitFor();
  const [csv] = await Promise.all([page.waitForEvent("download"), card.hover().then(() => card.getByRole("button", { name: /^Download log/ }).click()).then(() => page.getByRole("menuitem", { name: /CSV/ }).click())]);
  const drawn = readFileSync(await csv.path(), "utf8").trim().split("\n").slice(1).map((line) => line.split(","));
  const [run, , , step, , value] = drawn[3];
  const at = async (key) => (await api(`metrics/get-history?run_id=${run}&metric_key=${encodeURIComponent(key)}&max_results=5000`)).metrics.find((point) => String(point.step) === step).value;
  assert(Math.abs(Math.log(await at("valid/loss")) - Math.log(await at("train/loss")) - Number(value)) < 1e-9, `${value} at step ${step}`);
  await page.reload();
  await card.getByRole("img", { name: /: 5 lines/ }).waitFor();
  await shot(page, "charts-expression");
});

await check("charts: a run that diverged spoils none", async (page) => {
  const { experiment_id } = await api("experiments/create", { name: `made/diverged-${Date.now()}` });
  try {
    for (const [i, last] of [0.5, 0.25, "NaN", 0.125].entries()) {
      const { run } = await api("runs/create", { experiment_id, run_name: `r${i}`, start_time: Date.now() });
      const metrics = [1, 0.9, last, last].map((value, step) => ({ key: "loss", value, step, timestamp: step }));
      for (const step of [0, 1]) metrics.push({ key: "gap", value: -1 - step, step, timestamp: step }, { key: "lost", value: "NaN", step, timestamp: step }, { key: "huge", value: step ? 1e308 : -1e308, step, timestamp: step });
      await api("runs/log-batch", { run_id: run.info.run_id, metrics, params: [{ key: "lr", value: i === 3 ? "nan" : String(0.1 * (i + 1)) }, { key: "width", value: String(i) }] });
      await api("runs/update", { run_id: run.info.run_id, status: "FINISHED", end_time: Date.now() });
    }
    const broken = [];
    page.on("pageerror", (error) => broken.push(error.message));
    for (const axes of ["", "&logy=1", "&logx=1&logy=1", "&clip=1&logy=1", "&x=relative&smooth=0.9"]) {
      await page.goto(`${url}/experiments/${experiment_id}?view=charts${axes}`);
      await page.getByText("Every point is NaN or infinite.").waitFor();
      if (axes.includes("logy")) await page.getByText("No point lies above zero").first().waitFor();
      await page.locator(".chart", { hasText: "loss" }).locator("canvas").waitFor();
    }
    await page.getByText("2 NaN or ∞").waitFor();
    assert.deepEqual(broken, []);
    await page.goto(`${url}/experiments/${experiment_id}?view=charts&cards=bar(metrics.loss);scatter(params.lr,metrics.loss);parallel(params.lr,params.width,metrics.loss);contour(params.lr,params.width,metrics.loss)`);
    // Bars need the metric; the others the param as well.
    await page.getByText("3 of 4 runs").waitFor();
    await page.getByText("2 of 4 runs").nth(1).waitFor();
    await page.getByText(/Three runs with numbers/).waitFor();
    await page.waitForTimeout(500);
    await shot(page, "charts-diverged");
  } finally {
    await api("experiments/delete", { experiment_id });
  }
});

await check("charts: timeline of runs", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=charts`);
  await page.getByRole("button", { name: "Chart", exact: true }).click();
  await page.getByLabel("Kind").selectOption("timeline");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const timeline = page.getByRole("region", { name: "Timeline of runs" });
  await timeline.waitFor();
  assert.equal(await timeline.getByRole("listitem").count(), 160);
  await shot(page, "charts-timeline");
  await accessible(page);
  await timeline.getByRole("link").first().click();
  await page.waitForURL(/\/runs\//);
});

await check("charts: parallel coordinates filter the table", async (page) => {
  await page.goto(`${url}/experiments/${vision}?cards=parallel(params.learning_rate,params.depth,params.dropout,metrics.valid/accuracy)`);
  const plot = page.locator(".echart canvas").first();
  await plot.waitFor();
  await page.waitForTimeout(500);
  const box = await plot.boundingBox();
  // Over the last axis, from its top to the middle.
  await page.mouse.move(box.x + box.width - 56, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 56, box.y + 110, { steps: 8 });
  await page.mouse.up();
  await page.waitForURL(/brush=/);
  await page.getByText(/in the brushed ranges/).waitFor();
  await shot(page, "charts-parallel");
});

await check("charts: added by hand: scatter, bars, boxes, contours", async (page) => {
  await page.goto(`${url}/experiments/${vision}?view=charts`);
  await page.getByRole("button", { name: "Chart", exact: true }).waitFor();
  for (const kind of ["scatter", "bar", "box", "contour"]) {
    await page.getByRole("button", { name: "Chart", exact: true }).click();
    await page.getByLabel("Kind").selectOption(kind);
    await page.getByRole("button", { name: "Add", exact: true }).click();
  }
  await page.locator(".echart canvas").nth(3).waitFor();
  await page.waitForTimeout(600);
  await shot(page, "charts-added");
  await accessible(page);
});

// 4. Run

await check("run: overview", async (page) => {
  await page.goto(`${url}/runs/${artifactsRun}`);
  await page.getByRole("heading", { name: "What this run is about" }).waitFor();
  await page.getByText("learning_rate", { exact: true }).waitFor();
  await shot(page, "run");
  await accessible(page);
});

await check("run: overview (dark)", async (page) => {
  await page.goto(`${url}/runs/${artifactsRun}`);
  await page.getByRole("heading", { name: "What this run is about" }).waitFor();
  await shot(page, "run-dark");
  await accessible(page);
});

await check("run: tags and notes are edited", async (page) => {
  const [id] = await runsOf(await experimentOf("scratch"));
  await page.goto(`${url}/runs/${id}`);
  await page.getByRole("button", { name: "Tag", exact: true }).click();
  await page.getByLabel("Key of the tag").fill("checked");
  await page.getByLabel("Value of the tag").fill("by test");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByRole("button", { name: "Remove tag checked" }).click();
  await page.getByRole("button", { name: "Remove tag checked" }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByLabel("Markdown").fill("A **note**.");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.locator(".md strong", { hasText: "note" }).waitFor();
});

await check("run: metrics, of the model and of the system", async (page) => {
  await page.goto(`${url}/runs/${artifactsRun}/metrics`);
  await cards(page).nth(4).locator("canvas").waitFor();
  await shot(page, "run-metrics");
  await page.getByRole("link", { name: /System metrics/ }).click();
  await page.getByRole("heading", { name: "gpu_0_utilization_percentage" }).waitFor();
  await accessible(page);
});

const PREVIEWS = {
  "images/activations.png": (page) => page.locator(".preview img").waitFor(),
  "images/chart.svg": (page) => page.locator(".preview img").waitFor(),
  "report.html": (page) => page.frameLocator(".preview iframe").getByText("Loss fell to").waitFor(),
  "notes.md": (page) => page.locator(".preview .md h4, .preview .md h3").first().waitFor(),
  "config.json": (page) => page.locator(".json .k").first().waitFor(),
  "train.py": (page) => page.getByText("optimizer.step()").or(page.locator(".cm-line")).first().waitFor(),
  "tables/confusion.csv": (page) => page.getByRole("columnheader", { name: "predicted" }).waitFor(),
  "tables/predictions.parquet": (page) => page.getByText("2,000 rows, 6 columns").waitFor(),
  "tables/sample.arrow": (page) => page.getByText("200 rows, 6 columns").waitFor(),
  "sound/tone.wav": (page) => page.locator("audio").waitFor(),
  "paper.pdf": (page) => page.locator(".pdf canvas").waitFor(),
  "weights.bin": (page) => page.getByText("There is no preview").waitFor(),
};

await check("run: previews of artifacts", async (page) => {
  await page.goto(`${url}/runs/${artifactsRun}/artifacts`);
  await page.getByRole("button", { name: "config.json" }).click();
  for (const [path, seen] of Object.entries(PREVIEWS)) {
    await page.goto(`${url}/runs/${artifactsRun}/artifacts?path=${path}`);
    await seen(page).catch((error) => {
      throw new Error(`${path}: ${error.message}`);
    });
    if (path.endsWith(".parquet") || path === "images/activations.png" || path === "paper.pdf") {
      await page.waitForTimeout(300);
      await shot(page, `artifact-${path.split(".").pop()}`);
      await accessible(page);
    }
  }
});

await check("run: a logged page runs its scripts apart, and only when asked", async (page) => {
  await page.goto(`${url}/runs/${artifactsRun}/artifacts?path=report.html`);
  const frame = page.frameLocator(".preview iframe");
  await frame.getByText("scripts are off").waitFor();
  await page.getByRole("button", { name: "Run its scripts" }).click();
  await frame.getByText("scripts ran in their own origin: null").waitFor();
});

await check("run: one that does not exist says so", async (page) => {
  await page.goto(`${url}/runs/00000000000000000000000000000000`);
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").innerText(), /deleted, or the address is wrong/);
  await shot(page, "error");
});

// 5. Compare

await check("compare: differences, curves, plots", async (page) => {
  const ids = await runsOf(vision, "attributes.status = 'FINISHED'", "metrics.`valid/accuracy` DESC", 4);
  await page.goto(`${url}/compare?runs=${ids.join(",")}`);
  await page.getByRole("rowheader", { name: "learning_rate", exact: true }).waitFor();
  assert.equal(await page.getByRole("rowheader", { name: "epochs" }).count(), 0);
  await shot(page, "compare");
  await accessible(page);
  await page.getByLabel("Only what differs").uncheck();
  await page.getByRole("rowheader", { name: "epochs" }).waitFor();
  await page.getByRole("link", { name: "Curves" }).click();
  await cards(page).locator("canvas").first().waitFor();
  await page.waitForTimeout(300);
  await shot(page, "compare-curves");
  await page.getByRole("link", { name: "Params and metrics" }).click();
  await page.locator(".echart canvas").nth(1).waitFor();
  await page.getByText("Rank correlation").waitFor();
  await page.waitForTimeout(300);
  await shot(page, "compare-plots");
  await accessible(page);
});

await check("compare: images over steps", async (page) => {
  const ids = await runsOf(vision, "", "attributes.start_time ASC", 3);
  await page.goto(`${url}/compare?runs=${ids.join(",")}&tab=images`);
  await page.getByLabel("Image").selectOption("images/samples");
  await page.locator("figure img").nth(2).waitFor();
  await page.getByLabel(/Step/).fill("0");
  await page.getByText("step 0").first().waitFor();
  await page.waitForTimeout(300);
  await shot(page, "compare-images");
  await accessible(page);
});

// 6. Models

await check("models: list, versions, schema, history, lineage", async (page) => {
  await page.goto(`${url}/models`);
  await page.getByRole("link", { name: "birds-classifier" }).waitFor();
  await shot(page, "models");
  await accessible(page);
  await page.getByRole("link", { name: "birds-classifier" }).click();
  await page.getByRole("link", { name: "Version 3" }).waitFor();
  await shot(page, "model");
  await accessible(page);
  await page.getByRole("link", { name: "Version 3" }).click();
  await page.getByText("float32 (any × 3 × 224 × 224)").waitFor();
  await shot(page, "model-version");
  await accessible(page);
  await page.goto(`${url}/models/birds-classifier/history`);
  await page.getByText(/moved alias champion from version 2 to version 3/).waitFor();
  await shot(page, "model-history");
  await accessible(page);
  await page.goto(`${url}/models/birds-classifier/lineage`);
  await page.getByText(/was made by run/).waitFor();
  await shot(page, "model-lineage");
  await accessible(page);
  await page.getByRole("button", { name: /Dataset/ }).click();
  await page.getByText(/runs used it/).waitFor();
  await shot(page, "lineage-dataset");
  await page.goto(`${url}/models/birds-classifier/compare?of=2,3`);
  await page.getByRole("rowheader", { name: "learning_rate", exact: true }).waitFor();
  await accessible(page);
});

await check("models: alias and stage of a version are changed", async (page) => {
  await page.goto(`${url}/models/birds-classifier/4`);
  await page.getByRole("button", { name: "Promote" }).click();
  await page.getByRole("menuitem", { name: "New alias…" }).click();
  await page.getByLabel("Alias", { exact: true }).fill("trial");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".runhead .badge", { hasText: "trial" }).waitFor();
  await page.getByRole("button", { name: "Promote" }).click();
  await page.getByRole("menuitem", { name: "Take away trial" }).click();
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".runhead .badge", { hasText: "trial" }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Promote" }).click();
  await page.getByRole("menuitemcheckbox", { name: "Staging" }).click();
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".runhead .badge", { hasText: "Staging" }).waitFor();
  await page.getByRole("button", { name: "Promote" }).click();
  await page.getByRole("menuitemcheckbox", { name: "None" }).click();
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".runhead .badge", { hasText: "Staging" }).waitFor({ state: "detached" });
});

await check("models: a logged model", async (page) => {
  await page.goto(`${url}/models/birds-classifier/3`);
  await page.getByRole("link", { name: /^m-/ }).click();
  await page.getByText("float32 (any × 10)").waitFor();
  await shot(page, "logged-model");
  await accessible(page);
  await page.getByRole("button", { name: "Tag", exact: true }).click();
  await page.getByLabel("Key of the tag").fill("checked");
  await page.getByLabel("Value of the tag").fill("by test");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByRole("button", { name: "Remove tag checked" }).click();
  await page.getByRole("button", { name: "Remove tag checked" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Artifacts" }).click();
  await page.getByRole("button", { name: /MLmodel/ }).click();
  await page.locator(".code").waitFor();
});

// 7. SQL

if (!hasSql) console.log("      the server does not answer SQL: that page is only looked at");

await check("sql: looked at", async (page) => {
  await page.goto(`${url}/sql`);
  await page.getByRole("button", { name: "Run", exact: true }).waitFor();
  await page.waitForTimeout(300);
  await accessible(page);
});

if (hasSql) {
  await check("sql: run, chart, explain, download", async (page) => {
    const query = "SELECT p.value AS optimizer, count(*) AS runs, avg(m.value) AS mean FROM latest_metrics m JOIN params p ON p.run_id = m.run_id AND p.key = 'optimizer' WHERE m.key = 'valid/accuracy' GROUP BY 1 ORDER BY 1";
    await page.goto(`${url}/sql?q=${encodeURIComponent(query)}`);
    await page.getByRole("button", { name: /^latest_metrics/ }).waitFor();
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByText("3 rows, 3 columns").waitFor();
    await shot(page, "sql");
    await accessible(page);
    await page.getByRole("button", { name: "Chart" }).click();
    await page.locator(".echart canvas").waitFor();
    await page.waitForTimeout(300);
    await shot(page, "sql-chart");
    await page.getByRole("button", { name: "Table" }).click();
    await page.getByRole("button", { name: "Download" }).click();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "CSV" }).click()]);
    assert.equal(readFileSync(await download.path(), "utf8").trim().split("\n").length, 4);
    await page.getByRole("button", { name: "Explain" }).click();
    await page.getByRole("heading", { name: /plan/i }).first().waitFor();
    await shot(page, "sql-explain");
  });

  await check("sql: values of every type", async (page) => {
    await page.goto(`${url}/sql?run=1&q=${encodeURIComponent("SELECT 1.5::decimal(10,2) AS d, -0.07::decimal(10,2) AS e, 9223372036854775807 AS b, 'NaN'::double AS n, [1, 2] AS l, interval '36 hours' AS i, x'ff01' AS y")}`);
    await page.getByText("1 row, 7 columns").waitFor();
    const cells = await page.getByRole("gridcell").allInnerTexts();
    for (const text of ["1.50", "-0.07", "9223372036854775807", "NaN", "[1,2]", "ff01"]) assert(cells.includes(text), `${text} is not among ${cells.join(" | ")}`);
  });

  await check("sql: completion, errors, cancel (dark)", async (page) => {
    await page.goto(`${url}/sql?q=${encodeURIComponent("SELECT nothing FROM runs")}`);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByRole("alert").waitFor();
    await page.goto(`${url}/sql?q=${encodeURIComponent("SELECT sum(sin(a.value * b.step + c.value)) FROM latest_metrics a, latest_metrics b, latest_metrics c")}`);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Run", exact: true }).waitFor();
    await page.goto(`${url}/sql?q=${encodeURIComponent("SELECT * FROM runs")}&run=1`);
    await page.getByText(/\d+ rows, \d+ columns/).waitFor();
    await shot(page, "sql-dark");
    await accessible(page);
  });

  await check("runs: min, max and mean of a metric", async (page) => {
    await page.goto(`${url}/experiments/${vision}?view=table&cols=metrics.train/loss,metrics.train/loss@min,metrics.train/loss@mean`);
    const cell = page.locator('[role=gridcell][aria-colindex="4"]').first();
    await page.waitForFunction(() => /^\d/.test(document.querySelector('[role=gridcell][aria-colindex="4"]')?.textContent ?? ""));
    assert(Number(await cell.innerText()) > 0);
  });
}

// 8. Across

await check("across: palette, shortcuts, theme", async (page) => {
  await page.goto(url);
  await page.getByRole("link", { name: "classification/resnet" }).waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: /Search runs/ }).fill("adamw-d6-09");
  await page.getByRole("option", { name: /adamw-d6-094/ }).waitFor();
  await shot(page, "palette");
  await accessible(page);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/runs\//);
  await page.getByRole("heading", { name: /adamw-d6/ }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("2");
  await page.waitForURL(/\/metrics$/);
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await page.waitForURL(/\/models$/);
  await page.getByRole("button", { name: "Theme" }).click();
  await page.getByRole("menuitemcheckbox", { name: "Dark" }).click();
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(15, 18, 21)");
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
});

await check("across: links that MLflow's clients print", async (page) => {
  await page.goto(`${url}/#/experiments/${vision}/runs/${artifactsRun}`);
  await page.waitForURL(`${url}/runs/${artifactsRun}`);
});

await check("across: narrow window", async (page) => {
  await page.setViewportSize({ width: 480, height: 800 });
  await page.goto(url);
  await page.getByRole("link", { name: "classification/resnet" }).waitFor();
  assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than the window");
  await shot(page, "narrow");
  for (const place of [`/experiments/${vision}`, "/models/birds-classifier", "/models/birds-classifier/3", `/runs/${artifactsRun}`, "/sql"]) {
    await page.goto(url + place);
    await page.waitForLoadState("networkidle").catch(() => {});
    await page.waitForTimeout(300);
    assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${place} is wider than the window`);
  }
  const run = await page.getByRole("button", { name: "Run", exact: true }).boundingBox();
  assert(run && run.y + run.height < 800, "the SQL page shows no editor");
});

await check("across: changes show while somebody writes all the time", async (page) => {
  const id = await experimentOf("scratch");
  const [busy] = await runsOf(id);
  await page.goto(`${url}/experiments/${id}?view=table`);
  await rows(page).nth(2).waitFor();
  await page.getByText("Live").waitFor();
  let writing = true;
  const writer = (async () => {
    for (let step = 0; writing; step++) {
      await api("runs/log-metric", { run_id: busy, key: "written all the time", value: step, step, timestamp: Date.now() });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  let made;
  try {
    await page.waitForTimeout(1500);
    made = (await api("runs/create", { experiment_id: id, run_name: "came amid others", start_time: Date.now() })).run;
    await page.getByRole("link", { name: "came amid others" }).waitFor({ timeout: 20_000 });
  } finally {
    writing = false;
    await writer;
    if (made) await api("runs/delete", { run_id: made.info.run_id });
  }
});

await check("across: a run that ends shows without a reload", async (page) => {
  const id = await experimentOf("scratch");
  await page.goto(`${url}/experiments/${id}?view=table`);
  await rows(page).nth(2).waitFor();
  if ((await fetch(`${server}/api/runlake/changes`, { headers: { accept: "text/event-stream" }, signal: AbortSignal.timeout(2000) }).then((answer) => answer.status, () => 200)) !== 200) return;
  await page.getByText("Live").waitFor();
  const { run } = await api("runs/create", { experiment_id: id, run_name: "came just now", start_time: Date.now() });
  try {
    await page.getByRole("link", { name: "came just now" }).waitFor();
  } finally {
    await api("runs/delete", { run_id: run.info.run_id });
  }
});

// 9. What users write never runs

await check("stored markup never runs", async (page) => {
  const clean = async (where) => {
    await page.waitForTimeout(400);
    assert.equal(await page.evaluate(() => window.__xss), undefined, where);
  };
  const places = ["/", `/experiments/${evil}`, `/experiments/${evil}?view=charts&group=params.evil&cards=bar(metrics.evil%20metric);timeline();expression(%60evil%20metric%60);expression(%3Cimg%20src=x%20onerror=alert(1)%3E)`, `/runs/${evilRun}`, `/runs/${evilRun}/metrics`, `/compare?runs=${evilRun},${artifactsRun}&all=1`, `/compare?runs=${evilRun},${artifactsRun}&tab=plots`, `/lineage?of=run:${evilRun}`];
  for (const place of places) {
    await page.goto(url + place);
    await page.waitForLoadState("networkidle").catch(() => {});
    await clean(place);
    const links = await page.evaluate(() => [...document.querySelectorAll("a[href]")].map((link) => link.getAttribute("href")).filter((href) => /^\s*(javascript|data|vbscript):/i.test(href)));
    assert.deepEqual(links, [], place);
  }
  await page.goto(`${url}/runs/${evilRun}`);
  await page.getByText("evil metric").waitFor();
  await shot(page, "stored-markup");
  for (const file of ["evil.html", "evil.svg", "evil.md", "evil.csv", "evil.json", "evil.txt"]) {
    await page.goto(`${url}/runs/${evilRun}/artifacts?path=${file}`);
    await page.waitForTimeout(500);
    await clean(file);
    if (file === "evil.html") {
      await page.getByRole("button", { name: "Run its scripts" }).click();
      await page.frameLocator(".preview iframe").getByText("evil").waitFor();
      await clean("evil.html with scripts");
    }
  }
  // Opened by itself, the frame is in no origin.
  const answer = await page.goto(`${url}/frame.html`);
  assert.match(answer.headers()["content-security-policy"], /^sandbox allow-scripts;/);
});

await check("the policy is strict, and nothing breaks it", async (page) => {
  const answer = await page.goto(url);
  const policy = answer.headers()["content-security-policy"];
  assert(policy && !policy.includes("unsafe"), policy);
  assert.equal(answer.headers()["x-content-type-options"], "nosniff");
});

// 10. Users

if (binary) {
  const lake = mkdtempSync(join(tmpdir(), "runlake-ui-"));
  const password = "correct horse battery";
  const add = (name, role) => {
    const done = spawnSync(binary, ["user", "add", name, "--role", role, "--lake", lake], { input: `${password}\n` });
    assert.equal(done.status, 0, done.stderr.toString());
  };
  const listening = async (base) => {
    for (let i = 0; i < 100 && !(await fetch(`${base}/health`).then(({ ok }) => ok, () => false)); i++) await new Promise((resolve) => setTimeout(resolve, 100));
  };
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const base = `http://127.0.0.1:${port}`;
  const start = () => spawn(binary, ["server", "--lake", lake, "--port", String(port), "--auth", "required"], { stdio: "ignore" });
  const stop = async (child) => {
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("exit", resolve));
  };
  // The first start makes the lake; users are added while nobody has it open.
  const first = start();
  await listening(base);
  await stop(first);
  for (const [name, role] of [["ann", "admin"], ["bob", "approver"], ["eve", "editor"]]) add(name, role);
  const child = start();
  await listening(base);
  const front = flag("--direct") ? { url: base, close() {} } : await serve(base);
  const as = (name) => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` });
  const logIn = async (page, name) => {
    await page.goto(front.url);
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("button", { name, exact: true }).waitFor();
  };
  try {
    await check("users: log in, refused, log out", async (page) => {
      await page.goto(front.url);
      await page.getByRole("heading", { name: "Log in to runlake" }).waitFor();
      await shot(page, "login");
      await accessible(page);
      await page.getByLabel("Name").fill("ann");
      await page.getByLabel("Password").fill("wrong");
      await page.getByRole("button", { name: "Log in" }).click();
      await page.getByRole("alert").waitFor();
      await logIn(page, "ann");
      await page.getByRole("button", { name: "New experiment" }).click();
      await page.getByLabel("Name", { exact: true }).fill("made/after/log-in");
      await page.getByRole("button", { name: "Create" }).click();
      await page.getByText("No runs yet").waitFor();
      await page.getByRole("button", { name: "ann", exact: true }).click();
      await page.getByRole("menuitem", { name: "Log out" }).click();
      await page.getByRole("heading", { name: "Log in to runlake" }).waitFor();
    });

    await check("models: a change waits for approval", async (page) => {
      await api("registered-models/create", { name: "guarded" }, base, as("ann"));
      const { run } = await api("runs/create", { experiment_id: "0", start_time: Date.now() }, base, as("ann"));
      const made = await api("model-versions/create", { name: "guarded", source: `${run.info.artifact_uri}/model`, run_id: run.info.run_id }, base, as("ann"));
      assert(made.model_version, JSON.stringify(made));
      await logIn(page, "ann");
      await page.goto(`${front.url}/models/guarded/approvals`);
      await page.getByRole("button", { name: "Set up…" }).click();
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("whoever has the role approver", { exact: true }).waitFor();
      const other = await open();
      await logIn(other, "eve");
      await other.goto(`${front.url}/models/guarded/1`);
      await other.getByRole("button", { name: "Promote" }).click();
      await other.getByRole("menuitemcheckbox", { name: "Production" }).click();
      await other.getByLabel("Comment").fill("better on every slice");
      await other.getByRole("button", { name: "Ask for approval" }).click();
      await other.getByText("Waiting for approval").waitFor();
      await other.context().close();
      const third = await open();
      await logIn(third, "bob");
      await third.goto(`${front.url}/models/guarded/approvals`);
      await third.getByText("“better on every slice”").waitFor();
      await shot(third, "model-approvals");
      await accessible(third);
      await third.getByRole("button", { name: "Approve…" }).click();
      await third.getByLabel("Comment").fill("agreed");
      await third.getByRole("button", { name: "Approve", exact: true }).click();
      await third.getByText("Approved", { exact: true }).waitFor();
      await third.getByRole("link", { name: "History" }).click();
      await third.getByText(/moved version 1 from None to Production/).waitFor();
      await shot(third, "model-audit");
      await third.context().close();
    });
  } finally {
    front.close();
    await stop(child);
    rmSync(lake, { recursive: true, force: true });
  }
}

await check("no page complained on the console", async () => {
  assert.deepEqual([...new Set(complaints)], []);
});

await browser.close();
close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
