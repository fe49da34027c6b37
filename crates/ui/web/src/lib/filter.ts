// The filter grammar of `runs/search`: tokens, tree, what may come next, and the same question in SQL.

export type Kind = "metrics" | "params" | "tags" | "attributes" | "datasets";

export interface Key {
  kind: Kind;
  name: string;
  aggregate: "last" | "min" | "max" | "mean" | "count";
}

export type Literal = string | number;

export type Node =
  | { type: "and" | "or"; items: Node[] }
  | { type: "not"; item: Node }
  | { type: "compare"; key: Key; op: string; value: Literal }
  | { type: "in"; key: Key; not: boolean; values: Literal[] }
  | { type: "between"; key: Key; not: boolean; low: Literal; high: Literal }
  | { type: "null"; key: Key; not: boolean };

export interface Token {
  type: "word" | "string" | "number" | "op" | "punct" | "bad";
  text: string;
  start: number;
  end: number;
}

const KEYWORDS = new Set(["AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "BETWEEN", "IS", "NULL"]);
const PATTERNS: [Token["type"], RegExp][] = [
  ["string", /'(?:[^']|'')*'/y],
  ["string", /"(?:[^"]|"")*"/y],
  ["number", /[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w./])/y],
  ["op", /!=|<>|>=|<=|==|=|>|</y],
  ["punct", /[(),]/y],
  // A word is a key with its parts, of which some may be quoted.
  ["word", /[A-Za-z_](?:`[^`]*`|"[^"]*"|[\w./:-])*/y],
];

export function tokens(text: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  while (at < text.length) {
    if (/\s/.test(text[at]!)) {
      at++;
      continue;
    }
    let found: Token | null = null;
    for (const [type, pattern] of PATTERNS) {
      pattern.lastIndex = at;
      const hit = pattern.exec(text);
      if (hit) {
        found = { type, text: hit[0], start: at, end: at + hit[0].length };
        break;
      }
    }
    if (!found) {
      // An open quote takes the rest.
      const end = /['"`]/.test(text[at]!) ? text.length : at + 1;
      found = { type: "bad", text: text.slice(at, end), start: at, end };
    }
    out.push(found);
    at = found.end;
  }
  return out;
}

export class FilterError extends Error {
  constructor(
    message: string,
    readonly at: number,
  ) {
    super(message);
  }
}

const PREFIXES: Record<string, Kind> = {
  metrics: "metrics", metric: "metrics", params: "params", param: "params", parameters: "params", parameter: "params",
  tags: "tags", tag: "tags", attributes: "attributes", attribute: "attributes", attr: "attributes", run: "attributes",
  datasets: "datasets", dataset: "datasets",
};

export const ATTRIBUTE_KEYS = ["run_name", "run_id", "status", "user_id", "start_time", "end_time", "duration", "artifact_uri"];

export function key(text: string, at = 0): Key {
  const dot = text.indexOf(".");
  const prefix = dot < 0 ? "" : text.slice(0, dot).toLowerCase();
  const kind = PREFIXES[prefix];
  if (!kind) {
    if (dot < 0) return { kind: "attributes", name: text, aggregate: "last" };
    throw new FilterError(`Unknown "${text.slice(0, dot)}": keys begin with metrics., params., tags., attributes. or datasets.`, at);
  }
  let rest = text.slice(dot + 1);
  let aggregate: Key["aggregate"] = "last";
  const quote = rest[0];
  if (quote === "`" || quote === '"') {
    const close = rest.indexOf(quote, 1);
    const tail = rest.slice(close + 1);
    const name = rest.slice(1, close);
    const hit = /^\.(last|min|max|mean|count)$/.exec(tail);
    if (kind === "metrics" && hit) aggregate = hit[1] as Key["aggregate"];
    rest = name;
  } else if (kind === "metrics") {
    const hit = /^(.+)\.(last|min|max|mean|count)$/.exec(rest);
    if (hit) {
      rest = hit[1]!;
      aggregate = hit[2] as Key["aggregate"];
    }
  }
  if (!rest) throw new FilterError("A key is missing after the point.", at);
  return { kind, name: rest, aggregate };
}

/** The tree of a filter; null for an empty one. Throws a [`FilterError`] that says where. */
export function parse(text: string): Node | null {
  const all = tokens(text);
  if (all.length === 0) return null;
  let at = 0;
  const peek = (ahead = 0): Token | undefined => all[at + ahead];
  const isWord = (word: string, ahead = 0) => {
    const token = peek(ahead);
    return token?.type === "word" && token.text.toUpperCase() === word;
  };
  const position = () => peek()?.start ?? text.length;
  const fail = (message: string): never => {
    throw new FilterError(message, position());
  };

  function or(): Node {
    const items = [and()];
    while (isWord("OR")) {
      at++;
      items.push(and());
    }
    return items.length === 1 ? items[0]! : { type: "or", items };
  }
  function and(): Node {
    const items = [not()];
    while (isWord("AND")) {
      at++;
      items.push(not());
    }
    return items.length === 1 ? items[0]! : { type: "and", items };
  }
  function not(): Node {
    if (isWord("NOT")) {
      at++;
      return { type: "not", item: not() };
    }
    if (peek()?.text === "(") {
      at++;
      const inner = or();
      if (peek()?.text !== ")") fail("A closing parenthesis is missing.");
      at++;
      return inner;
    }
    return comparison();
  }
  function literal(): Literal {
    const token = peek();
    if (token?.type === "string") {
      at++;
      const quote = token.text[0]!;
      return token.text.slice(1, -1).replaceAll(quote + quote, quote);
    }
    if (token?.type === "number") {
      at++;
      return Number(token.text);
    }
    if (token?.type === "word" && /^[-+]?(inf|nan)$/i.test(token.text)) {
      at++;
      return /nan/i.test(token.text) ? NaN : Infinity;
    }
    return fail(token?.type === "word" ? `Texts stand in quotes: '${token.text}'.` : "A value is missing: a number, or a text in 'quotes'.");
  }
  function comparison(): Node {
    const token = peek();
    if (!token) return fail("A condition is missing, such as metrics.loss < 0.5.");
    if (token.type !== "word" || KEYWORDS.has(token.text.toUpperCase())) return fail(`A key is expected here, not ${token.text}.`);
    const of = key(token.text, token.start);
    at++;
    const op = peek();
    if (!op) return fail(`An operator is missing after ${token.text}: = != < <= > >= LIKE ILIKE IN BETWEEN IS NULL.`);
    if (op.type === "op") {
      at++;
      return { type: "compare", key: of, op: op.text === "==" ? "=" : op.text === "<>" ? "!=" : op.text, value: literal() };
    }
    if (isWord("IS")) {
      at++;
      const negated = isWord("NOT");
      if (negated) at++;
      if (!isWord("NULL")) fail("NULL is expected after IS.");
      at++;
      return { type: "null", key: of, not: negated };
    }
    const negated = isWord("NOT");
    if (negated) at++;
    if (isWord("LIKE") || isWord("ILIKE")) {
      const name = peek()!.text.toUpperCase();
      at++;
      const like: Node = { type: "compare", key: of, op: name, value: literal() };
      return negated ? { type: "not", item: like } : like;
    }
    if (isWord("BETWEEN")) {
      at++;
      const low = literal();
      if (!isWord("AND")) fail("AND is expected between the bounds of BETWEEN.");
      at++;
      return { type: "between", key: of, not: negated, low, high: literal() };
    }
    if (isWord("IN")) {
      at++;
      if (peek()?.text !== "(") fail("A list in parentheses is expected after IN.");
      const values: Literal[] = [];
      do {
        at++;
        values.push(literal());
      } while (peek()?.text === ",");
      if (peek()?.text !== ")") fail("A closing parenthesis is missing.");
      at++;
      return { type: "in", key: of, not: negated, values };
    }
    return fail(`Unknown operator ${op.text}.`);
  }

  const tree = or();
  if (at < all.length) fail(`AND or OR is expected before ${peek()!.text}.`);
  return tree;
}

/** What may be written at the end of `before`: whole words to put in place of `from..`. */
export interface Completion {
  from: number;
  options: { text: string; hint: string }[];
}

export interface Known {
  params: readonly string[];
  metrics: readonly string[];
  tags: readonly string[];
  values: (key: Key) => readonly string[];
}

const OPERATORS: Record<"number" | "text", [string, string][]> = {
  number: [["<", "less"], ["<=", "at most"], [">", "greater"], [">=", "at least"], ["=", "equal"], ["!=", "not equal"], ["BETWEEN", "low AND high"], ["IS NULL", "was not logged"]],
  text: [["=", "equal"], ["!=", "not equal"], ["LIKE", "% any text, _ one character"], ["ILIKE", "LIKE, any case"], ["IN", "('a', 'b')"], ["IS NULL", "was not logged"], ["IS NOT NULL", "was logged"]],
};

function written(kind: string, name: string): string {
  return /^[\w/:-]+$/.test(name) && !/\//.test(name) ? `${kind}.${name}` : `${kind}.\`${name}\``;
}

export function complete(before: string, known: Known, most = 50): Completion {
  const all = tokens(before);
  const last = all.at(-1);
  const open = last !== undefined && last.end === before.length && (last.type === "word" || last.type === "bad" || last.type === "number");
  const done = open ? all.slice(0, -1) : all;
  const partial = open ? last!.text : "";
  const from = open ? last!.start : before.length;
  const previous = done.at(-1);
  const word = previous?.type === "word" ? previous.text.toUpperCase() : "";
  const pick = (options: { text: string; hint: string }[]): Completion => {
    const bare = partial.replace(/[`'"]/g, "").toLowerCase();
    const hits = options.filter(({ text }) => text.replace(/[`'"]/g, "").toLowerCase().includes(bare) && text !== partial);
    hits.sort((a, b) => Number(b.text.replace(/[`'"]/g, "").toLowerCase().startsWith(bare)) - Number(a.text.replace(/[`'"]/g, "").toLowerCase().startsWith(bare)));
    return { from, options: hits.slice(0, most) };
  };
  const keys = () => [
    ...known.metrics.map((name) => ({ text: written("metrics", name), hint: "metric" })),
    ...known.params.map((name) => ({ text: written("params", name), hint: "param" })),
    ...ATTRIBUTE_KEYS.map((name) => ({ text: `attributes.${name}`, hint: "attribute" })),
    ...known.tags.map((name) => ({ text: written("tags", name), hint: "tag" })),
  ];
  const values = (of: Key | null) => {
    if (!of) return [];
    return known.values(of).map((value) => ({ text: `'${value.replace(/'/g, "''")}'`, hint: "value" }));
  };
  const keyOf = (token: Token | undefined): Key | null => {
    if (token?.type !== "word" || KEYWORDS.has(token.text.toUpperCase())) return null;
    try {
      return key(token.text);
    } catch {
      return null;
    }
  };
  if (!previous || previous.text === "(" && !keyBeforeIn(done) || word === "AND" && !inBetween(done) || word === "OR" || word === "NOT" && !keyOf(done.at(-2))) return pick(keys());
  if (previous.type === "op" || word === "LIKE" || word === "ILIKE") return pick(values(keyOf(done.at(-2)) ?? keyOf(done.at(-3))));
  if (previous.text === "(" || previous.text === ",") {
    const list = done.findLastIndex((token) => token.text.toUpperCase() === "IN");
    return pick(values(keyOf(done[list - 1]) ?? keyOf(done[list - 2])));
  }
  const of = keyOf(previous);
  if (of) {
    const kind = of.kind === "metrics" || of.name.endsWith("_time") || (of.kind === "attributes" && of.name === "duration") ? "number" : "text";
    return pick(OPERATORS[kind].map(([text, hint]) => ({ text, hint })));
  }
  if (previous.type === "string" || previous.type === "number" || previous.text === ")" || word === "NULL") {
    return pick([{ text: "AND", hint: "both" }, { text: "OR", hint: "either" }]);
  }
  return { from, options: [] };
}

function keyBeforeIn(done: readonly Token[]): boolean {
  return done.at(-2)?.text.toUpperCase() === "IN";
}

function inBetween(done: readonly Token[]): boolean {
  return done.at(-3)?.text.toUpperCase() === "BETWEEN";
}

/** A text as SQL writes it. */
export function sqlText(text: string): string {
  return `'${text.replace(/'/g, "''")}'`;
}

export function sqlName(name: string): string {
  return `"${name.replace(/"/g, '""')}"`;
}

const AGGREGATE_SQL: Record<Key["aggregate"], (alias: string) => string> = {
  last: (alias) => `${alias}.value`,
  min: (alias) => `${alias}.min`,
  max: (alias) => `${alias}.max`,
  mean: (alias) => `(${alias}.sum / ${alias}.count)`,
  count: (alias) => `${alias}.count`,
};

/** Builds a SELECT over `runs r`, with one join for each key that is asked for. */
export class RunsSql {
  private readonly joins = new Map<string, { table: string; alias: string; key: string }>();

  /** The expression of a key; missing values are NULL, as in the filter grammar. */
  expression(of: Key): string {
    if (of.kind === "attributes") {
      if (of.name === "duration") return "date_part('epoch', r.end_time - r.start_time) * 1000";
      const names: Record<string, string> = { "Run name": "run_name", run_name: "run_name", user: "user_id" };
      return `r.${sqlName(names[of.name] ?? of.name)}`;
    }
    if (of.kind === "datasets") throw new FilterError("Filters over datasets are not part of this query.", 0);
    const table = of.kind === "metrics" ? "latest_metrics" : of.kind;
    const id = `${table}.${of.name}`;
    let join = this.joins.get(id);
    if (!join) {
      join = { table, alias: `${table[0]}${this.joins.size}`, key: of.name };
      this.joins.set(id, join);
    }
    return of.kind === "metrics" ? AGGREGATE_SQL[of.aggregate](join.alias) : `${join.alias}.value`;
  }

  condition(node: Node): string {
    switch (node.type) {
      case "and":
      case "or":
        return `(${node.items.map((item) => this.condition(item)).join(node.type === "and" ? " AND " : " OR ")})`;
      case "not":
        return `(NOT ${this.condition(node.item)})`;
      case "null":
        return `${this.expression(node.key)} IS ${node.not ? "NOT " : ""}NULL`;
      case "in":
        return `${this.expression(node.key)} ${node.not ? "NOT " : ""}IN (${node.values.map((value) => literalSql(value, node.key)).join(", ")})`;
      case "between":
        return `${this.expression(node.key)} ${node.not ? "NOT " : ""}BETWEEN ${literalSql(node.low, node.key)} AND ${literalSql(node.high, node.key)}`;
      case "compare":
        return `${this.expression(node.key)} ${node.op} ${literalSql(node.value, node.key)}`;
    }
  }

  /** FROM and WHERE of the runs of some experiments. Call it after every expression was asked for. */
  from(experimentIds: readonly string[], view: "ACTIVE_ONLY" | "DELETED_ONLY" | "ALL", filter: Node | null): string {
    const where = [`r.experiment_id IN (${experimentIds.map(sqlText).join(", ")})`];
    if (view !== "ALL") where.push(`r.lifecycle_stage = ${view === "ACTIVE_ONLY" ? "'active'" : "'deleted'"}`);
    if (filter) where.push(this.condition(filter));
    const joins = [...this.joins.values()].map(
      ({ table, alias, key: name }) => `LEFT JOIN ${table} ${alias} ON ${alias}.run_id = r.run_id AND ${alias}.key = ${sqlText(name)}`,
    );
    return ["FROM runs r", ...joins, `WHERE ${where.join(" AND ")}`].join("\n");
  }
}

function literalSql(value: Literal, of: Key): string {
  const isTime = of.kind === "attributes" && of.name.endsWith("_time");
  if (typeof value === "number") {
    if (isTime) return `to_timestamp_millis(${value})`;
    if (Number.isNaN(value)) return "CAST('NaN' AS DOUBLE)";
    if (!Number.isFinite(value)) return `CAST('${value > 0 ? "" : "-"}Infinity' AS DOUBLE)`;
    return of.kind === "metrics" || (of.kind === "attributes" && of.name === "duration") ? String(value) : sqlText(String(value));
  }
  return sqlText(value);
}
