// The schema of a model, as its MLmodel file tells it.

export interface Field {
  name: string;
  type: string;
  required: boolean;
  byDefault?: string;
}

export interface Signature {
  inputs: Field[];
  outputs: Field[];
  params: Field[];
}

/** Reads the `signature:` block of an MLmodel file; null if there is none. */
export function signatureOf(mlmodel: string): Signature | null {
  const lines = mlmodel.split(/\r?\n/);
  const at = lines.findIndex((line) => /^signature:\s*$/.test(line));
  if (at < 0) return null;
  const texts: Record<string, string> = {};
  let key = "";
  for (const line of lines.slice(at + 1)) {
    if (/^\S/.test(line)) break;
    const head = /^ {2}(inputs|outputs|params):\s?(.*)$/.exec(line);
    if (head) {
      key = head[1]!;
      texts[key] = head[2]!.trim();
    } else if (key) texts[key] += ` ${line.trim()}`;
  }
  return { inputs: fields(texts["inputs"]), outputs: fields(texts["outputs"]), params: fields(texts["params"]) };
}

interface Told {
  name?: string;
  type?: string;
  required?: boolean;
  default?: unknown;
  dtype?: string;
  "tensor-spec"?: { dtype?: string; shape?: number[] };
}

function fields(text: string | undefined): Field[] {
  if (!text || text.trim() === "null") return [];
  let plain = text.trim();
  if (plain.startsWith("'")) plain = plain.replace(/^'|'$/g, "").replaceAll("''", "'");
  else if (plain.startsWith('"')) {
    try {
      plain = JSON.parse(plain) as string;
    } catch {
      return [];
    }
  }
  try {
    const list = JSON.parse(plain) as Told[];
    return list.map((entry, i) => {
      const tensor = entry["tensor-spec"];
      const type = tensor ? `${tensor.dtype ?? "tensor"} (${(tensor.shape ?? []).map((n) => (n === -1 ? "any" : n)).join(" × ")})` : (entry.type ?? entry.dtype ?? "unknown");
      const byDefault = entry.default === undefined || entry.default === null ? undefined : String(entry.default);
      return { name: entry.name ?? `#${i}`, type, required: entry.required !== false && byDefault === undefined, byDefault };
    });
  } catch {
    return [];
  }
}
