// What both editors share. They live in a shadow root: there their styles are adopted sheets, which a strict policy allows.

import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { tags as t } from "@lezer/highlight";

const theme = EditorView.theme({
  "&": { height: "100%", backgroundColor: "var(--bg)", color: "var(--fg)", fontSize: "12.5px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6" },
  ".cm-content": { caretColor: "var(--fg)", padding: "10px 0" },
  ".cm-gutters": { backgroundColor: "var(--bg)", color: "var(--fg-faint)", border: "none", paddingLeft: "6px" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine": { backgroundColor: "var(--bg-hover)" },
  ".cm-cursor": { borderLeftColor: "var(--fg)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground, ::selection": { backgroundColor: "light-dark(#bfe3f0, #1d5468)" },
  ".cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "none" },
  ".cm-tooltip": { backgroundColor: "var(--bg-raised)", border: "1px solid var(--line)", borderRadius: "8px", boxShadow: "var(--shadow-pop)", overflow: "hidden" },
  ".cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12px", maxHeight: "260px" },
  ".cm-tooltip-autocomplete > ul > li": { padding: "3px 10px !important" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--bg-selected)", color: "var(--fg)" },
  ".cm-completionDetail": { color: "var(--fg-faint)", fontStyle: "normal", marginLeft: "12px" },
  ".cm-placeholder": { color: "var(--fg-faint)" },
  ".cm-panels": { backgroundColor: "var(--bg-sunken)", color: "var(--fg)" },
});

const colors = HighlightStyle.define([
  { tag: [t.keyword, t.operatorKeyword, t.modifier], color: "var(--violet)" },
  { tag: [t.string, t.special(t.string)], color: "var(--good)" },
  { tag: [t.number, t.bool, t.null], color: "var(--busy)" },
  { tag: [t.comment, t.meta], color: "var(--fg-faint)", fontStyle: "italic" },
  { tag: [t.typeName, t.className, t.standard(t.name)], color: "var(--warn)" },
  { tag: [t.function(t.variableName), t.function(t.propertyName), t.definition(t.propertyName), t.propertyName], color: "var(--accent)" },
]);

export const look: Extension[] = [theme, syntaxHighlighting(colors)];

/** An editor's place: a shadow root of `host`, made once. */
export function rootOf(host: HTMLElement): { root: ShadowRoot; parent: HTMLElement } {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const parent = document.createElement("div");
  parent.style.height = "100%";
  root.append(parent);
  return { root, parent };
}
