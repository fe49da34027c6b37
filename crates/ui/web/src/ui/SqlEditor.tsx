import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { PostgreSQL, sql } from "@codemirror/lang-sql";
import { bracketMatching } from "@codemirror/language";
import { Compartment, EditorState, Prec } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { type RefObject, useEffect, useImperativeHandle, useRef } from "react";
import { look, rootOf } from "./editor";

export interface EditorHandle {
  insert: (text: string) => void;
  /** What is selected, or everything. */
  text: () => string;
  focus: () => void;
}

export type Schema = Record<string, string[]>;

export function SqlEditor({ value, onChange, onRun, schema, handle }: { value: string; onChange: (text: string) => void; onRun: () => void; schema: Schema; handle: RefObject<EditorHandle | null> }) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const language = useRef(new Compartment());
  const latest = useRef({ onChange, onRun });
  latest.current = { onChange, onRun };

  useEffect(() => {
    const { root, parent } = rootOf(host.current!);
    const editor = new EditorView({
      root,
      parent,
      state: EditorState.create({
        doc: value,
        extensions: [
          Prec.highest(keymap.of([{ key: "Mod-Enter", run: () => (latest.current.onRun(), true) }])),
          lineNumbers(), history(), drawSelection(), highlightActiveLine(), bracketMatching(), closeBrackets(), autocompletion(),
          keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap, indentWithTab]),
          placeholder("SELECT … Ctrl Enter runs it; the tables are on the left."),
          EditorView.lineWrapping, EditorView.contentAttributes.of({ "aria-label": "SQL" }),
          EditorView.updateListener.of((update) => update.docChanged && latest.current.onChange(update.state.doc.toString())),
          language.current.of(sql({ dialect: PostgreSQL, upperCaseKeywords: true })),
          ...look,
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
    // The text goes in once, and by the effect below when it comes from elsewhere.
    // eslint-disable-next-line
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);

  useEffect(() => {
    view.current?.dispatch({ effects: language.current.reconfigure(sql({ dialect: PostgreSQL, upperCaseKeywords: true, schema })) });
  }, [schema]);

  useImperativeHandle(handle, () => ({
    insert(text) {
      const editor = view.current!;
      editor.dispatch(editor.state.replaceSelection(text));
      editor.focus();
    },
    text() {
      const { state } = view.current!;
      const { from, to } = state.selection.main;
      return from === to ? state.doc.toString() : state.sliceDoc(from, to);
    },
    focus: () => view.current?.focus(),
  }));

  return <div ref={host} />;
}
