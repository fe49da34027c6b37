// Serves a built web app as the binary does, in front of a server that has none:
//
//     node tests/ui/serve.mjs http://127.0.0.1:5000 [port] [folder]

import { createServer, request as ask } from "node:http";
import { readFile, stat } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".wasm": "application/wasm", ".json": "application/json" };
const PROXIED = /^\/(api|ajax-api|health|version|metrics|get-artifact|model-versions|graphql|signup|v1)(\/|$|\?)/;

/** The policies of the crate, read from its source so that there is one place for them. */
async function policies() {
  const source = await readFile(join(here, "../../crates/ui/src/lib.rs"), "utf8");
  const text = (name) => {
    const hit = new RegExp(`${name}: &str = "([^"]*)"`).exec(source);
    if (!hit) throw new Error(`there is no ${name} in crates/ui/src/lib.rs`);
    return hit[1].replace(/\\\s*\n\s*/g, "");
  };
  return { app: text("CONTENT_SECURITY_POLICY"), frame: text("FRAME_POLICY") };
}

export async function serve(target, port = 0, folder = join(here, "../../crates/ui/web/dist")) {
  const to = new URL(target);
  const { app, frame } = await policies();
  const server = createServer(async (incoming, outgoing) => {
    if (PROXIED.test(incoming.url) || incoming.method !== "GET") {
      const headers = { ...incoming.headers, host: to.host };
      if (headers.origin) headers.origin = to.origin;
      const out = ask({ host: to.hostname, port: to.port, method: incoming.method, path: incoming.url, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
        // A server that dies ends what it was saying.
        answer.on("close", () => answer.complete || outgoing.destroy());
      });
      out.on("error", () => outgoing.writeHead(502).end());
      outgoing.on("close", () => out.destroy());
      incoming.pipe(out);
      return;
    }
    const path = normalize(decodeURIComponent(new URL(incoming.url, "http://x").pathname)).replace(/^[/\\]+/, "");
    let file = join(folder, path || "index.html");
    const found = await stat(file).then((info) => info.isFile(), () => false);
    if (!found) file = join(folder, "index.html");
    const data = await readFile(file);
    outgoing.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-security-policy": path === "frame.html" ? frame : app,
      "x-content-type-options": "nosniff",
      "cache-control": path.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache",
    });
    outgoing.end(data);
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [target = "http://127.0.0.1:5000", port = "5173", folder] = process.argv.slice(2);
  const { url } = await serve(target, Number(port), folder);
  console.log(`${url} in front of ${target}`);
}
