import { json } from "@codemirror/lang-json";
import { python } from "@codemirror/lang-python";
import { sql } from "@codemirror/lang-sql";
import { yaml } from "@codemirror/lang-yaml";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { look, rootOf } from "./editor";

const LANGUAGES: Record<string, () => ReturnType<typeof json>> = { py: python, json, ipynb: json, geojson: json, yaml, yml: yaml, MLmodel: yaml, MLproject: yaml, sql };

/** Text with line numbers, colours and search; only the lines in sight are drawn. */
export default function Code({ text, language }: { text: string; language: string }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const { root, parent } = rootOf(host.current!);
    const view = new EditorView({
      root,
      parent,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(), EditorState.readOnly.of(true), EditorView.contentAttributes.of({ "aria-label": "Text of the file", tabindex: "0" }), EditorView.lineWrapping, search({ top: true }), highlightSelectionMatches(), keymap.of(searchKeymap), ...look,
          ...(LANGUAGES[language] ? [LANGUAGES[language]()] : []),
        ],
      }),
    });
    return () => view.destroy();
  }, [text, language]);
  return (
    <div className="code">
      <div ref={host} />
    </div>
  );
}
