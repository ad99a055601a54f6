/** The one-line mutants of a TypeScript source: what may be wrong with it, each a replacement of a few characters. */
import { parseSync } from "vite";

/**
 * @typedef {object} Mutant
 * @property {number} begin place in the source, as `end`
 * @property {number} end
 * @property {string} text what stands there instead
 * @property {string} what for people: the kind of change
 */

const OTHER_OPERATOR = {
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "===": "!==",
  "!==": "===",
  "+": "-",
  "-": "+",
  "*": "/",
  "/": "*",
  "%": "*",
  "&": "|",
  "|": "&",
  "<<": ">>",
  ">>": "<<",
  ">>>": "<<",
  "&&": "||",
  "||": "&&",
};
const BOUNDS = ["<", "<=", ">", ">="];
/** What these are given is for people, or says what must be so: a mutant there tells nothing of the tests. */
const SPARED_CALLS = /^(assert|defined|Math\.imul)$/;

/**
 * Every mutant of a source, in its order.
 * @param {string} file its name, for the parser
 * @param {string} source
 * @returns {Mutant[]}
 */
export function mutantsOf(file, source) {
  const { program, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file} cannot be parsed: ${errors[0].message}`);
  /** @type {Mutant[]} */
  const found = [];
  visit(program, (node, parent) => {
    const add = (begin, end, text, what) => found.push({ begin, end, text, what });
    const of = ({ start, end }) => source.slice(start, end);
    for (const [from, to, text, what] of changes(node, parent, of)) add(from, to, text, what);
  });
  return found.filter(({ begin, end, text }) => source.slice(begin, end) !== text).sort((a, b) => a.begin - b.begin);
}

/** The changes that begin at one node: [begin, end, text, what]. */
function* changes(node, parent, of) {
  switch (node.type) {
    case "BinaryExpression": {
      const { left, right, operator } = node;
      const between = [left.end, right.start];
      if (operator in OTHER_OPERATOR) {
        const other = OTHER_OPERATOR[operator];
        yield [...between, ` ${other} `, `${operator} becomes ${other}`];
      }
      if (BOUNDS.includes(operator)) {
        yield [right.start, right.end, `(${of(right)}) + 1`, "bound + 1"];
        yield [right.start, right.end, `(${of(right)}) - 1`, "bound - 1"];
      }
      return;
    }
    case "LogicalExpression": {
      const { left, right, operator } = node;
      if (operator in OTHER_OPERATOR)
        yield [
          node.start,
          node.end,
          `((${of(left)}) ${OTHER_OPERATOR[operator]} (${of(right)}))`,
          `${operator} becomes ${OTHER_OPERATOR[operator]}`,
        ];
      yield [node.start, node.end, `(${of(left)})`, `what follows ${operator} is dropped`];
      if (operator !== "??") yield [node.start, node.end, `(${of(right)})`, `what ${operator} follows is dropped`];
      return;
    }
    case "IfStatement":
    case "ConditionalExpression":
    case "WhileStatement":
      yield [node.test.start, node.test.end, `!(${of(node.test)})`, "condition negated"];
      return;
    case "UpdateExpression":
      yield [
        node.start,
        node.end,
        of(node).replace(/\+\+|--/, (sign) => (sign === "++" ? "--" : "++")),
        "counted the other way",
      ];
      return;
    case "Literal":
      if (parent?.type === "MemberExpression" || parent?.type === "TemplateLiteral") return;
      if (typeof node.value === "number") yield [node.start, node.end, String(node.value + 1), "constant + 1"];
      if (typeof node.value === "boolean") yield [node.start, node.end, String(!node.value), "constant flipped"];
      return;
    case "AwaitExpression":
      yield [node.start, node.end, `(${of(node.argument)})`, "await dropped"];
      return;
    case "ExpressionStatement":
      if (/^(Call|Await|Assignment|Chain)Expression$/.test(node.expression.type))
        yield [node.start, node.end, ";", "statement dropped"];
      return;
    case "CallExpression": {
      const args = node.arguments;
      if (args.length === 1 && /^Math\./.test(of(node.callee)))
        yield [node.start, node.end, `(${of(args[0])})`, "call dropped"];
      for (let at = 0; at + 1 < args.length; at++) {
        const [a, b] = [args[at], args[at + 1]];
        if (a.type === b.type && /^(Identifier|MemberExpression|BinaryExpression)$/.test(a.type))
          yield [a.start, b.end, `${of(b)}, ${of(a)}`, "arguments swapped"];
      }
      return;
    }
  }
}

/** Calls `see` with each node that is code, and its parent: neither types, nor what is for people. */
function visit(node, see, parent = null) {
  if (Array.isArray(node)) {
    for (const each of node) visit(each, see, parent);
    return;
  }
  if (typeof node?.type !== "string" || isSpared(node)) return;
  see(node, parent);
  for (const [key, value] of Object.entries(node))
    if (
      typeof value === "object" &&
      value !== null &&
      !/^(typeAnnotation|returnType|typeArguments|typeParameters)$/.test(key)
    )
      visit(value, see, node);
}

const TRANSPARENT = ["TSNonNullExpression", "TSAsExpression", "TSSatisfiesExpression"];

function isSpared({ type, callee }) {
  if (type.startsWith("TS") && !TRANSPARENT.includes(type)) return true;
  if (type === "ImportDeclaration" || type === "ThrowStatement") return true;
  if (type === "NewExpression") return callee.name === "MixtabError" || callee.name === "Error";
  return type === "CallExpression" && SPARED_CALLS.test(callee.name ?? "");
}
