// What a scenario expects, compared with what was found, both in the JSON form of protobuf. Knows no client and no server.
type Json = unknown;
type Fields = Record<string, Json>;

/** What was found is not what was expected; the message says where and how the two differ. */
export class Mismatch extends Error {}

export interface Found {
  result?: Json;
  response?: Json;
  events?: Fields[];
  answers?: Fields[];
  error?: { code: string; reason: string; message: string; fields: string[] };
}

export interface Expected {
  result?: Json;
  response?: Json;
  events?: { kinds?: string[]; last?: string; contiguous?: boolean };
  answers?: Fields[];
  error?: { code?: string; reason?: string; field?: string };
}

const LONGEST = 200; // Characters of a value that are quoted.
const KINDS = [
  "runStarted",
  "groupStarted",
  "memberStarted",
  "memberProgress",
  "memberEnded",
  "groupEnded",
  "runEnded",
];
KINDS.push("attemptStarted", "attemptEnded");

export function check(expect: Expected, found: Found): void {
  if (found.error !== undefined && expect.error === undefined) throw new Mismatch(`failed: ${quoted(found.error)}`);
  if (expect.error !== undefined) checkError(expect.error, found.error);
  for (const part of ["result", "response"] as const) {
    if (!(part in expect)) continue;
    if (!(part in found)) throw new Mismatch(`${part}: there is none`);
    subset(expect[part], found[part], part);
  }
  if (expect.events !== undefined) checkEvents(expect.events, found.events ?? []);
  if (expect.answers !== undefined) checkAnswers(expect.answers, found.answers ?? []);
}

/** Throws unless everything that is expected is found. */
export function subset(expected: Json, found: Json, path: string): void {
  if (Array.isArray(expected)) {
    if (!Array.isArray(found) || found.length !== expected.length) {
      throw new Mismatch(`${path}: expected ${expected.length} elements, found ${quoted(found)}`);
    }
    expected.forEach((each, index) => subset(each, found[index], `${path}[${index}]`));
  } else if (isFields(expected)) {
    if ("$exists" in expected) return;
    if ("$matches" in expected) {
      if (typeof found === "string" && new RegExp(String(expected["$matches"]), "u").test(found)) return;
      throw new Mismatch(`${path}: expected text with ${String(expected["$matches"])}, found ${quoted(found)}`);
    }
    if (!isFields(found)) throw new Mismatch(`${path}: expected an object, found ${quoted(found)}`);
    for (const [name, value] of Object.entries(expected)) {
      if (!Object.hasOwn(found, name)) {
        throw new Mismatch(`${path}.${name}: expected ${quoted(value)}, found nothing`);
      }
      subset(value, found[name], `${path}.${name}`);
    }
  } else if (expected !== found) {
    throw new Mismatch(`${path}: expected ${quoted(expected)}, found ${quoted(found)}`);
  }
}

/** Which of an event's details is set. */
export function kindOf(event: Fields): string {
  return KINDS.find((kind) => kind in event) ?? "";
}

function checkError(expected: NonNullable<Expected["error"]>, found: Found["error"]): void {
  if (found === undefined) throw new Mismatch(`error: expected ${quoted(expected)}, and the call succeeded`);
  for (const name of ["code", "reason"] as const) {
    if (expected[name] !== undefined && expected[name] !== found[name]) {
      throw new Mismatch(`error.${name}: expected ${expected[name]}, found ${quoted(found)}`);
    }
  }
  if (expected.field !== undefined && !found.fields.includes(expected.field)) {
    throw new Mismatch(`error.field: expected ${expected.field}, found ${quoted(found)}`);
  }
}

function checkEvents(expected: NonNullable<Expected["events"]>, events: Fields[]): void {
  const kinds = events.map(kindOf);
  let from = 0;
  for (const wanted of expected.kinds ?? []) {
    const at = kinds.indexOf(wanted, from);
    if (at < 0) throw new Mismatch(`events.kinds: ${wanted} is missing, or not in this order, in ${quoted(kinds)}`);
    from = at + 1;
  }
  if (expected.last !== undefined && kinds.at(-1) !== expected.last) {
    throw new Mismatch(`events.last: expected ${expected.last}, found ${kinds.at(-1) ?? "no event"}`);
  }
  const numbers = events.map((event) => Number(event["sequence"]));
  if (expected.contiguous && !(numbers.length > 0 && numbers.every((number, index) => number === index + 1))) {
    throw new Mismatch(`events.contiguous: found the numbers ${quoted(numbers)}`);
  }
}

function checkAnswers(expected: Fields[], found: Fields[]): void {
  if (expected.length !== found.length) {
    throw new Mismatch(`answers: expected ${expected.length}, found ${quoted(found)}`);
  }
  const left = [...found];
  for (const each of expected) {
    const at = left.findIndex((other) => fits(each, other));
    if (at < 0) throw new Mismatch(`answers: ${quoted(each)} is not among ${quoted(left)}`);
    left.splice(at, 1);
  }
}

function fits(expected: Json, found: Json): boolean {
  try {
    subset(expected, found, "");
    return true;
  } catch (error) {
    if (error instanceof Mismatch) return false;
    throw error;
  }
}

function isFields(value: Json): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quoted(value: Json): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST)} ... (${text.length} characters)`;
}
