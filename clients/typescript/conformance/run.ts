// Plays the scenarios with the TypeScript client and worker. Knows nothing of the server but its address.
//
// Usage: node dist/conformance/run.js --address HOST:PORT --cases DIR [--only NAME]
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import * as motet from "../src/index.js";
import { check, type Expected, type Found, kindOf, Mismatch } from "./matching.js";

const PATIENCE = 60_000; // Milliseconds that a case may take.
const LEAVING = 10_000; // Milliseconds that a drained worker may take.
const STUBBORN = 3_000;

interface Case {
  name: string;
  operation: string;
  request?: JsonValue;
  inputs?: string[];
  deadline_ms?: number;
  abort_after?: { event: string };
  cancel_after?: { event: string };
  break_after?: number;
  worker?: { agent: string; behaviour: string; capacity?: number };
  expect: Expected;
}

/** Client, what is called, with which bounds, and where to put what is found. */
interface Stage {
  client: motet.Client;
  given: Case;
  options: motet.RunOptions;
  abort: AbortController;
  found: Found;
}

const resultForm = (result: motet.RunResult) => toJson(motet.RunResultSchema, result);

function argumentsOf({ given, options }: Stage): [string | motet.Plan, unknown, motet.RunOptions] {
  const { target, input, timeout, limits, ...request } = fromJson(motet.RunRequestSchema, given.request ?? {});
  const { requestId, sessionId, tenant, variables, labels } = request;
  if (target.case === undefined) throw new Mismatch("request: it has no target");
  const more = { requestId, sessionId, tenant, variables, labels };
  return [
    target.value,
    input ?? "",
    { ...options, ...more, ...(limits && { limits }), ...(timeout && { timeout: durationMs(timeout) }) },
  ];
}

async function start(stage: Stage): Promise<string> {
  const started = await stage.client.start(...argumentsOf(stage));
  stage.found.response = toJson(motet.StartRunResponseSchema, started);
  return started.runId;
}

/** Reads to the end, or to an event for which `until` is true. */
async function read(stream: motet.RunStream, found: Found, until?: (kind: string) => boolean): Promise<void> {
  const events = (found.events ??= []);
  for await (const event of stream) {
    const form = toJson(motet.EventSchema, event) as Record<string, unknown>;
    events.push(form);
    if (until?.(kindOf(form))) return;
  }
  if (stream.result === undefined) throw new Mismatch("the stream ended without a result");
  found.result = resultForm(stream.result);
}

async function stream(stage: Stage): Promise<void> {
  await read(stage.client.stream(...argumentsOf(stage)), stage.found, (kind) => {
    if (kind === stage.given.abort_after?.event) stage.abort.abort();
    return false;
  });
}

const OPERATIONS: Record<string, (stage: Stage) => Promise<void>> = {
  stream,
  worker: stream,
  async run(stage) {
    stage.found.result = resultForm(await stage.client.run(...argumentsOf(stage)));
    stage.found.response = { result: stage.found.result };
  },
  async start_and_watch(stage) {
    await read(stage.client.watch(await start(stage)), stage.found);
  },
  async watch_resume(stage) {
    const runId = await start(stage);
    const first = stage.client.watch(runId);
    let left = stage.given.break_after ?? 0;
    if (left > 0) await read(first, stage.found, () => --left === 0);
    await read(stage.client.watch(runId, { after: first.lastSequence }), stage.found);
  },
  async cancel_run(stage) {
    const runId = await start(stage);
    await read(stage.client.watch(runId), stage.found, (kind) => kind === stage.given.cancel_after?.event);
    const run = await stage.client.cancel(runId);
    stage.found.response = { run: toJson(motet.RunSchema, run) };
    stage.found.result = run.result && resultForm(run.result);
  },
  async map(stage) {
    const [target, , { requestId: _, ...options }] = argumentsOf(stage);
    const inputs = (stage.given.inputs ?? []).map((text, place) => motet.mapInput(text, String(place)));
    stage.found.answers = [];
    for await (const { id, result } of stage.client.map(target, inputs, options)) {
      const output = result?.output;
      stage.found.answers.push({ key: id, ...(output && { output: toJson(motet.PayloadSchema, output) }) });
    }
  },
  async get_missing({ client, options, found }) {
    found.response = { run: toJson(motet.RunSchema, await client.get("run_missing", options)) };
  },
  async list_agents({ client, options, found }) {
    const agents = await client.agents(options);
    found.response = { agents: agents.map((agent) => toJson(motet.AgentSchema, agent)) };
  },
};

function upper({ input }: motet.Call): string {
  return String(input).toUpperCase();
}

const BEHAVIOURS: Record<string, motet.AgentFunction> = {
  upper,
  fail() {
    throw new motet.AgentFailure("WORKER_REFUSES", "the worker refuses");
  },
  async slow(call) {
    const seconds = Number(call.input);
    await sleep((Number.isFinite(seconds) ? seconds : 30) * 1000, undefined, { signal: call.signal });
    return upper(call);
  },
  async progress(call) {
    for (const step of [1, 2, 3]) await call.report({ step });
    return upper(call);
  },
  async stubborn(call) {
    await sleep(STUBBORN);
    return upper(call);
  },
};

/** Plays with a worker that is welcome, and drains it after. */
async function withWorker(address: string, offer: Case["worker"], play: () => Promise<void>): Promise<void> {
  if (offer === undefined) return play();
  const { agent: name, behaviour, capacity = 1 } = offer;
  const does = BEHAVIOURS[behaviour];
  if (does === undefined) throw new Mismatch(`worker: there is no behaviour ${behaviour}`);
  const grace = behaviour === "stubborn" ? 200 : 5_000;
  const stop = new AbortController();
  let worker: motet.Worker | undefined;
  let over: Promise<void> | undefined;
  await new Promise<void>((resolve, reject) => {
    worker = new motet.Worker(address, { capacity, grace, onWelcome: () => resolve() });
    over = worker.agent({ name, capacity }, does).run({ signal: stop.signal });
    over.catch(reject);
  });
  try {
    await play();
  } finally {
    worker?.drain();
    const left = await Promise.race([over?.then(() => true), sleep(LEAVING, false)]);
    stop.abort();
    if (!left) throw new Mismatch(`worker: it did not leave within ${LEAVING} ms`);
  }
}

/** What `check` compares with the case's `expect`. */
async function play(address: string, given: Case): Promise<Found> {
  const abort = new AbortController();
  const client = new motet.Client(address);
  const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(PATIENCE)]);
  const options = { deadline: given.deadline_ms, signal };
  const stage: Stage = { client, given, options, abort, found: {} };
  const operation = OPERATIONS[given.operation];
  if (operation === undefined) throw new Mismatch(`there is no operation ${given.operation}`);
  try {
    await withWorker(address, given.worker, async () => {
      try {
        await operation(stage);
      } catch (error) {
        if (!(error instanceof motet.MotetError)) throw error;
        const { code, reason, message, violations } = error;
        stage.found.error = { code, reason, message, fields: violations.map(({ field }) => field) };
      }
    });
  } finally {
    client.close();
  }
  return stage.found;
}

async function judge(address: string, given: Case): Promise<Record<string, unknown>> {
  try {
    check(given.expect, await play(address, given));
    return { case: given.name, ok: true };
  } catch (error) {
    const why = error instanceof Mismatch ? error.message : String(error);
    return { case: given.name, ok: false, why };
  }
}

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { address: text, cases: text, only: text } });
  const { address, cases: folder, only } = values;
  if (address === undefined || folder === undefined) throw new Error("give --address HOST:PORT and --cases DIR");
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  const cases = files.sort().map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Case);
  const chosen = cases.filter(({ name }) => only === undefined || name === only);
  if (chosen.length === 0) throw new Error(`${folder}: there is no case ${only ?? ""}`);
  for (const given of chosen) console.log(JSON.stringify(await judge(address, given)));
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
