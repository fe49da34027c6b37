// Markdown as elements: nothing of the text ever becomes HTML, so there is nothing to sanitise.

import { type Token, type Tokens, lexer } from "marked";
import type { ReactNode } from "react";

/** Only addresses that cannot run anything. */
export function safeHref(href: string): string | null {
  const text = href.trim();
  if (/^(https?:|mailto:)/i.test(text)) return text;
  if (/^(#|\/(?!\/)|\.{1,2}\/)/.test(text)) return text;
  return /^[\w.-]+(\/[\w./-]*)?$/.test(text) ? text : null;
}

export function Markdown({ text }: { text: string }) {
  return <div className="md">{blocks(lexer(text, { gfm: true }))}</div>;
}

function blocks(tokens: Token[]): ReactNode[] {
  return tokens.map((token, i) => block(token, i));
}

function block(token: Token, key: number): ReactNode {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading": {
      const { depth, tokens } = token as Tokens.Heading;
      // The page has its own first headings.
      const Tag = `h${Math.min(6, depth + 2)}` as "h3";
      return <Tag key={key}>{inline(tokens)}</Tag>;
    }
    case "paragraph":
      return <p key={key}>{inline((token as Tokens.Paragraph).tokens)}</p>;
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return <span key={key}>{tokens ? inline(tokens) : unescape(text)}</span>;
    }
    case "blockquote":
      return <blockquote key={key}>{blocks((token as Tokens.Blockquote).tokens)}</blockquote>;
    case "code":
      return (
        <pre key={key}>
          <code>{(token as Tokens.Code).text}</code>
        </pre>
      );
    case "hr":
      return <hr key={key} />;
    case "list": {
      const { ordered, items, start } = token as Tokens.List;
      const children = items.map((item, i) => (
        <li key={i}>
          {item.task && <input type="checkbox" checked={Boolean(item.checked)} readOnly disabled aria-label={item.checked ? "Done" : "To do"} />}
          {blocks(item.tokens.filter(({ type }) => type !== "checkbox"))}
        </li>
      ));
      return ordered ? (
        <ol key={key} start={Number(start) || 1}>
          {children}
        </ol>
      ) : (
        <ul key={key}>{children}</ul>
      );
    }
    case "table": {
      const { header, rows } = token as Tokens.Table;
      return (
        <table key={key}>
          <thead>
            <tr>
              {header.map((cell, i) => (
                <th key={i} style={cell.align ? { textAlign: cell.align } : undefined}>
                  {inline(cell.tokens)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, i) => (
              <tr key={i}>
                {row.map((cell, j) => (
                  <td key={j} style={cell.align ? { textAlign: cell.align } : undefined}>
                    {inline(cell.tokens)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      );
    }
    default:
      // HTML among it, too: as what was written.
      return <p key={key}>{token.raw}</p>;
  }
}

function inline(tokens: Token[] | undefined): ReactNode[] {
  return (tokens ?? []).map((token, i): ReactNode => {
    switch (token.type) {
      case "strong":
        return <strong key={i}>{inline(token.tokens)}</strong>;
      case "em":
        return <em key={i}>{inline(token.tokens)}</em>;
      case "del":
        return <del key={i}>{inline(token.tokens)}</del>;
      case "codespan":
        return <code key={i}>{unescape((token as Tokens.Codespan).text)}</code>;
      case "br":
        return <br key={i} />;
      case "link": {
        const href = safeHref((token as Tokens.Link).href);
        if (!href) return <span key={i}>{inline(token.tokens)}</span>;
        return (
          <a key={i} href={href} target="_blank" rel="noreferrer noopener">
            {inline(token.tokens)}
          </a>
        );
      }
      case "image": {
        const { href, text } = token as Tokens.Image;
        // Pictures of elsewhere would tell elsewhere who reads: a link it is.
        const safe = safeHref(href);
        return safe ? (
          <a key={i} href={safe} target="_blank" rel="noreferrer noopener">
            {text || safe}
          </a>
        ) : (
          <span key={i}>{text}</span>
        );
      }
      case "escape":
        return (token as Tokens.Escape).text;
      case "text": {
        const { tokens: inner, text } = token as Tokens.Text;
        return inner ? <span key={i}>{inline(inner)}</span> : unescape(text);
      }
      default:
        return token.raw;
    }
  });
}

const ENTITIES: Record<string, string> = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&" };

function unescape(text: string): string {
  return text.replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => ENTITIES[entity]!);
}
