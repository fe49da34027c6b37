import { renderToStaticMarkup } from "react-dom/server";
import { expect, it } from "vitest";
import { Markdown, safeHref } from "./markdown";

const html = (text: string) => renderToStaticMarkup(<Markdown text={text} />);

it("draws what people write", () => {
  const out = html("# A\n\n**b** `c` [d](https://e.f)\n\n- [x] g\n\n| h |\n|---|\n| i |");
  for (const part of ["<h3>A</h3>", "<strong>b</strong>", "<code>c</code>", 'href="https://e.f"', 'checked=""', "<td>i</td>"]) expect(out).toContain(part);
});

it("shows entities as the characters they stand for", () => {
  expect(html("a < b & `c < d`")).toBe('<div class="md"><p>a &lt; b &amp; <code>c &lt; d</code></p></div>');
});

it.each([
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "text <b onclick=alert(1)>b</b>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](data:text/html,<script>1</script>)",
  "![x](javascript:alert(1))",
  "![x](https://tracker.example/pixel.png)",
  "<iframe srcdoc='<script>1</script>'></iframe>",
])("never makes markup of %s", (text) => {
  const out = html(text);
  expect(out).not.toMatch(/<(script|img|iframe|b)\b/);
  expect(out).not.toMatch(/href="(javascript|data)/i);
  expect(out).not.toMatch(/<[^>]*\son\w+=/);
});

it("follows safe addresses only", () => {
  expect(["https://a", "mailto:a@b", "/runs/1", "./x", "#y"].map(safeHref)).not.toContain(null);
  expect(["javascript:1", " javascript:1", "//evil.example", "data:x", "vbscript:x", "java\tscript:1"].map(safeHref)).toEqual([null, null, null, null, null, null]);
});
