// Expressions of metrics, as in `train/loss - valid/loss` or `log(loss)`: read into a tree and computed from it.

export type Expression =
  | { type: "number"; value: number }
  | { type: "metric"; key: string }
  | { type: "minus"; of: Expression }
  | { type: "binary"; op: Operator; left: Expression; right: Expression }
  | { type: "call"; name: string; args: Expression[] };

type Operator = "+" | "-" | "*" | "/" | "^";

const OPERATORS: Record<Operator, { binds: number; of: (a: number, b: number) => number }> = {
  "+": { binds: 1, of: (a, b) => a + b },
  "-": { binds: 1, of: (a, b) => a - b },
  "*": { binds: 2, of: (a, b) => a * b },
  "/": { binds: 2, of: (a, b) => a / b },
  "^": { binds: 4, of: Math.pow },
};
/** A minus before something binds less than a power: -x^2 is -(x^2). */
const MINUS_BINDS = 3;

export const FUNCTIONS: Record<string, { takes: number; of: (...args: number[]) => number }> = {
  abs: { takes: 1, of: Math.abs },
  exp: { takes: 1, of: Math.exp },
  log: { takes: 1, of: Math.log },
  log2: { takes: 1, of: Math.log2 },
  log10: { takes: 1, of: Math.log10 },
  sqrt: { takes: 1, of: Math.sqrt },
  min: { takes: 2, of: Math.min },
  max: { takes: 2, of: Math.max },
  pow: { takes: 2, of: Math.pow },
};

const LONGEST = 500;

export class ExpressionError extends Error {
  constructor(
    message: string,
    readonly at: number,
  ) {
    super(message);
    this.name = "ExpressionError";
  }
}

/**
 * Reads an expression. A metric is written as it is called; the longest known name counts, so `a/b` is the metric of that
 * name if there is one, and `a / b` a division. Names with other signs are put in backquotes.
 */
export function parseExpression(text: string, known: readonly string[] = []): Expression {
  if (text.length > LONGEST) throw new ExpressionError(`An expression has at most ${LONGEST} characters.`, LONGEST);
  const keys = [...known].sort((a, b) => b.length - a.length);
  let at = 0;
  const space = () => {
    while (/\s/.test(text[at] ?? "")) at++;
  };
  const fail = (message: string): never => {
    throw new ExpressionError(message, at);
  };
  const take = (sign: string) => {
    space();
    if (text[at] !== sign) return false;
    at++;
    return true;
  };

  const operand = (): Expression => {
    space();
    if (at >= text.length) fail("Something is missing at the end.");
    if (take("(")) {
      const of = sum(0);
      if (!take(")")) fail("A closing parenthesis is missing.");
      return of;
    }
    if (take("-")) return { type: "minus", of: sum(MINUS_BINDS) };
    const rest = text.slice(at);
    const number = /^(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w])/.exec(rest);
    if (number) {
      at += number[0].length;
      return { type: "number", value: Number(number[0]) };
    }
    const quoted = /^`([^`]+)`/.exec(rest);
    if (quoted) {
      at += quoted[0].length;
      return { type: "metric", key: quoted[1]! };
    }
    const called = /^([a-z]\w*)\s*\(/.exec(rest);
    if (called && Object.hasOwn(FUNCTIONS, called[1]!)) {
      at += called[0].length;
      const args = [sum(0)];
      while (take(",")) args.push(sum(0));
      if (!take(")")) fail("A closing parenthesis is missing.");
      const { takes } = FUNCTIONS[called[1]!]!;
      if (args.length !== takes) fail(`${called[1]} takes ${takes === 1 ? "one value" : `${takes} values`}, not ${args.length}.`);
      return { type: "call", name: called[1]!, args };
    }
    const key = keys.find((one) => rest.startsWith(one) && !/^\w/.test(rest.slice(one.length)));
    if (key) {
      at += key.length;
      return { type: "metric", key };
    }
    const word = /^[\w./:]+/.exec(rest)?.[0];
    return fail(word ? `No metric or function is called ${word}.` : `${rest[0]} is not expected here.`);
  };
  const sum = (least: number): Expression => {
    let left = operand();
    for (;;) {
      space();
      const op = text[at] as Operator;
      if (!Object.hasOwn(OPERATORS, op ?? "") || OPERATORS[op].binds < least) return left;
      at++;
      // Powers group to the right, everything else to the left.
      left = { type: "binary", op, left, right: sum(op === "^" ? OPERATORS[op].binds : OPERATORS[op].binds + 1) };
    }
  };

  const out = sum(0);
  space();
  if (at < text.length) fail(`${text[at]} is not expected here.`);
  return out;
}

/** The metrics an expression is made of, each once. */
export function metricsOf(of: Expression): string[] {
  const out = new Set<string>();
  const walk = (node: Expression) => {
    if (node.type === "metric") out.add(node.key);
    else if (node.type === "minus") walk(node.of);
    else if (node.type === "binary") (walk(node.left), walk(node.right));
    else if (node.type === "call") node.args.forEach(walk);
  };
  walk(of);
  return [...out];
}

export function evaluate(of: Expression, value: (key: string) => number): number {
  switch (of.type) {
    case "number":
      return of.value;
    case "metric":
      return value(of.key);
    case "minus":
      return -evaluate(of.of, value);
    case "binary":
      return OPERATORS[of.op].of(evaluate(of.left, value), evaluate(of.right, value));
    case "call":
      return FUNCTIONS[of.name]!.of(...of.args.map((arg) => evaluate(arg, value)));
  }
}

/** As it is written where no names are known: every metric in backquotes. */
export function written(of: Expression, within = 0): string {
  const bound = (text: string, binds: number) => (binds < within ? `(${text})` : text);
  switch (of.type) {
    case "number":
      return String(of.value);
    case "metric":
      return `\`${of.key}\``;
    case "minus":
      return bound(`-${written(of.of, MINUS_BINDS)}`, MINUS_BINDS);
    case "binary": {
      const { binds } = OPERATORS[of.op];
      const [left, right] = of.op === "^" ? [binds + 1, binds] : [binds, binds + 1];
      return bound(`${written(of.left, left)} ${of.op} ${written(of.right, right)}`, binds);
    }
    case "call":
      return `${of.name}(${of.args.map((arg) => written(arg)).join(", ")})`;
  }
}
