// A worker against a server that does what a test says.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  AgentFailure,
  type AgentFunction,
  Client,
  decode,
  duration,
  encode,
  MotetError,
  reply,
  RunService,
  State,
  StopReceipt_Kind as Kind,
  Worker,
  type WorkerOptions,
} from "../src/index.js";
import { type EngineMessageSchema, type WorkerMessage, WorkerService } from "../src/gen/motet/v1/worker_service_pb.js";
import { Fake, Inbox } from "./fake.js";

type Said = NonNullable<MessageInitShape<typeof EngineMessageSchema>["message"]>;
type Heard = WorkerMessage["message"];
type Values = { [Each in Heard as NonNullable<Each["case"]>]: Each["value"] };

/** One connection of a worker, from the server's side. */
class Line {
  readonly heard = new Inbox<Heard>();
  readonly #orders = new Inbox<Said | Error | undefined>();

  say(said: Said): void {
    this.#orders.put(said);
  }

  lease(leaseId: string, input: unknown, more: object = {}): void {
    this.say({ case: "lease", value: { leaseId, epoch: 7n, agent: "shout", input: encode(input), ...more } });
  }

  /** Ends the stream, in good order or with an error. */
  end(error?: Error): void {
    this.#orders.put(error);
  }

  async next<K extends keyof Values>(kind: K): Promise<Values[K]> {
    const found = await this.heard.take((message) => message.case === kind);
    return found.value as Values[K];
  }

  async *orders(): AsyncGenerator<{ message: Said }> {
    for (;;) {
      const next = await this.#orders.take();
      if (next instanceof Error) throw next;
      if (next === undefined) return;
      yield { message: next };
    }
  }
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A worker with one agent, and its connections to a server that welcomes it. */
async function begin(does: AgentFunction, options: WorkerOptions = {}, interval = 5_000) {
  const lines = new Inbox<Line>();
  const depths: (string | null)[] = [];
  const fake = await Fake.serve((router) => {
    router.service(RunService, {
      run(_, { requestHeader }) {
        depths.push(requestHeader.get("motet-depth"));
        return { result: { state: State.SUCCEEDED, output: encode("nested") } };
      },
    });
    router.service(WorkerService, {
      async *serve(messages) {
        const line = new Line();
        lines.put(line);
        line.say({ case: "welcome", value: { heartbeatInterval: duration(interval), epoch: 7n } });
        const reading = (async () => {
          for await (const { message } of messages) line.heard.put(message);
          line.heard.put({ case: undefined });
        })();
        reading.catch(() => undefined);
        yield* line.orders();
      },
    });
  });
  const stop = new AbortController();
  const logged: string[] = [];
  const worker = new Worker(fake.address, { id: "w", log: (text) => logged.push(text), ...options });
  worker.agent({ name: "shout", capacity: 2, replaySafe: true }, does);
  const over = worker.run({ signal: stop.signal });
  over.catch(() => undefined);
  cleanups.push(async () => {
    stop.abort();
    await over.catch(() => undefined);
    await fake.stop();
  });
  const line = await lines.take();
  return { worker, over, stop, lines, line, logged, depths, address: fake.address };
}

/** Resolves when the call is stopped. */
const stopped = (signal: AbortSignal) => new Promise((_, reject) => (signal.onabort = () => reject(signal.reason)));

test("a worker says who it is, and answers a lease with lease and epoch", async () => {
  const { line } = await begin((call) => `${call.input as string} ${call.variables["tone"] as string}`.toUpperCase());
  const { workerId, agents, library } = await line.next("hello");
  assert.equal(workerId, "w");
  assert.deepEqual([agents[0]?.name, agents[0]?.capacity, agents[0]?.replaySafe], ["shout", 2, true]);
  assert.match(library, /^motet-typescript\//);
  line.lease("l1", "hi", { variables: { tone: encode("dry") } });
  const { leaseId, epoch, output } = await line.next("reply");
  assert.deepEqual([leaseId, epoch, decode(output)], ["l1", 7n, "HI DRY"]);
});

test("a reply may say what it used and what is to be kept with it", async () => {
  const { line } = await begin(() => reply({ a: 1 }, { usage: { calls: 2n, costNanos: 5n }, metadata: { by: "me" } }));
  line.lease("l1", "");
  const answer = await line.next("reply");
  assert.deepEqual(decode(answer.output), { a: 1 });
  assert.equal(answer.usage?.costNanos, 5n);
  assert.deepEqual(answer.metadata, { by: "me" });
});

test("a failure keeps its reason, any other error is AGENT_FAILED", async () => {
  const { line } = await begin((call) => {
    if (call.input === "mine") throw new AgentFailure("NO_LUCK", "try later", { retryable: true, details: { n: 1 } });
    if (call.input === "not json") return undefined;
    throw new TypeError("a bug");
  });
  const ask = async (input: string) => {
    line.lease(input, input);
    const { failure, retryable } = await line.next("failure");
    return [failure?.reason, retryable, failure?.message];
  };
  assert.deepEqual(await ask("mine"), ["NO_LUCK", true, "try later"]);
  assert.deepEqual(await ask("bug"), ["AGENT_FAILED", false, "a bug"]);
  assert.deepEqual((await ask("not json")).slice(0, 2), ["OUTPUT_INVALID", false]);
  line.lease("other", "", { agent: "nobody" });
  assert.equal((await line.next("failure")).failure?.reason, "AGENT_NOT_FOUND");
});

test("an answer that does not fit in a message fails its lease and leaves the others", async () => {
  const { line } = await begin((call) => (call.input === "big" ? "x".repeat(17 * 1024 * 1024) : "small"));
  line.lease("l1", "big");
  assert.equal((await line.next("failure")).failure?.reason, "OUTPUT_INVALID");
  line.lease("l2", "");
  assert.equal(decode((await line.next("reply")).output), "small");
});

test("reports go before the answer, in order", async () => {
  const { line } = await begin(async (call) => {
    await call.report({ step: 1 });
    void call.report({ step: 2 });
    void call.report(Number.NaN);
    await assert.rejects(call.report(Number.NaN), RangeError);
    return "done";
  });
  line.lease("l1", "");
  assert.deepEqual(decode((await line.next("progress")).report), { step: 1 });
  assert.deepEqual(decode((await line.next("progress")).report), { step: 2 });
  assert.equal((await line.next("reply")).leaseId, "l1");
});

test("leases run side by side", async () => {
  let waiting = () => {};
  const second = new Promise<void>((resolve) => (waiting = resolve));
  const { line } = await begin(async (call) => (call.input === "first" ? await second : waiting(), "done"));
  line.lease("l1", "first");
  line.lease("l2", "second");
  const answered = [(await line.next("reply")).leaseId, (await line.next("reply")).leaseId];
  assert.deepEqual(answered.sort(), ["l1", "l2"]);
});

test("a cancel aborts the function's signal with its reason, and is answered with a receipt", async () => {
  const reasons: unknown[] = [];
  const { line } = await begin(({ signal }) =>
    stopped(signal).catch((error: MotetError) => {
      reasons.push(error.reason);
      throw error;
    }),
  );
  line.lease("l1", "");
  line.say({ case: "cancel", value: { leaseId: "l1", epoch: 7n, reason: "DECIDED" } });
  line.say({ case: "cancel", value: { leaseId: "unknown", epoch: 7n } });
  const { leaseId, receipt } = await line.next("stopped");
  assert.deepEqual([leaseId, receipt?.kind, receipt?.detail], ["l1", Kind.STOPPED, ""]);
  assert.ok(receipt?.took !== undefined);
  assert.deepEqual(reasons, ["DECIDED"]);
});

test("a function that does not stop within the grace is DETACHED, and its answer is not sent", async () => {
  let finish = () => {};
  const { line } = await begin(
    (call) => (call.input === "" ? new Promise<void>((resolve) => (finish = resolve)) : "next"),
    { grace: 50 },
  );
  line.lease("l1", "");
  line.say({ case: "cancel", value: { leaseId: "l1", epoch: 7n, reason: "CANCELLED" } });
  const { receipt } = await line.next("stopped");
  assert.equal(receipt?.kind, Kind.DETACHED);
  assert.match(receipt?.detail ?? "", /shout/);
  finish();
  line.lease("l2", "x");
  const following = await line.heard.take(({ case: kind }) => kind === "reply" || kind === "failure");
  assert.equal((following.value as { leaseId: string }).leaseId, "l2");
});

test("a call whose time is over is aborted, and fails with DEADLINE_EXCEEDED", async () => {
  const { line } = await begin(({ signal }) => stopped(signal));
  line.lease("l1", "", { timeLeft: duration(50) });
  assert.equal((await line.next("failure")).failure?.reason, "DEADLINE_EXCEEDED");
  line.lease("l2", "", { timeLeft: duration(0) });
  assert.equal((await line.next("failure")).failure?.reason, "DEADLINE_EXCEEDED");
});

test("what a function calls counts as nested in its lease and ends with it", async () => {
  const { line, depths, address } = await begin(async (call) => {
    const client = new Client(address);
    try {
      const { output } = await client.run("g");
      if (call.input === "twice") {
        await stopped(call.signal).catch(() => undefined);
        await assert.rejects(client.run("g"), { code: "CANCELLED" });
      }
      return decode(output);
    } finally {
      client.close();
    }
  });
  line.lease("l1", "once", { depth: 3 });
  assert.equal(decode((await line.next("reply")).output), "nested");
  assert.deepEqual(depths, ["3"]);
  line.lease("l2", "twice", { depth: 4, timeLeft: duration(60_000) });
  for (let tries = 0; depths.length < 2 && tries < 500; tries++) await sleep(10);
  line.say({ case: "cancel", value: { leaseId: "l2", epoch: 7n, reason: "CANCELLED" } });
  assert.equal((await line.next("stopped")).receipt?.kind, Kind.STOPPED);
  assert.deepEqual(depths, ["3", "4"]);
});

test("a drained worker ends what runs, also what was on its way, and run resolves when the server ends", async () => {
  const finish = new Map<string, (output: string) => void>();
  const { line, worker, over } = await begin(
    (call) => new Promise<string>((resolve) => finish.set(call.lease.leaseId, resolve)),
  );
  line.lease("l1", "");
  worker.drain();
  await line.next("drain");
  line.lease("l2", "crossing");
  for (const leaseId of ["l1", "l2"]) {
    for (let tries = 0; !finish.has(leaseId) && tries < 500; tries++) await sleep(10);
    finish.get(leaseId)?.("done");
    assert.equal((await line.next("reply")).leaseId, leaseId);
  }
  line.end();
  await over;
});

test("a drained worker leaves by itself when the server does not end the stream", async () => {
  const { line, worker, over } = await begin(() => "x", {}, 200);
  await line.next("hello");
  const beats = setInterval(() => line.say({ case: "heartbeat", value: {} }), 40);
  worker.drain();
  await line.heard.take(({ case: kind }) => kind === undefined);
  clearInterval(beats);
  line.end();
  await over;
});

test("a worker is heard at each interval, with the leases that it runs", async () => {
  const { line } = await begin(({ signal }) => stopped(signal), {}, 200);
  const beats = setInterval(() => line.say({ case: "heartbeat", value: {} }), 40);
  cleanups.push(async () => clearInterval(beats));
  await line.next("heartbeat");
  line.lease("l1", "");
  let { running } = await line.next("heartbeat");
  for (let tries = 0; running === 0 && tries < 10; tries++) ({ running } = await line.next("heartbeat"));
  assert.equal(running, 1);
});

test("a server that is silent for three intervals is left, and the worker comes back under its id", async () => {
  const reasons: unknown[] = [];
  const { line, lines, logged } = await begin(
    ({ signal }) =>
      stopped(signal).catch((error: MotetError) => {
        reasons.push(error.reason);
        throw error;
      }),
    {},
    50,
  );
  line.lease("l1", "");
  const second = await lines.take();
  assert.equal((await second.next("hello")).workerId, "w");
  assert.deepEqual(reasons, ["CONNECTION_LOST"]);
  assert.match(logged[0] ?? "", /has not been heard/);
});

test("a worker comes back when its stream breaks or ends, and answers there", async () => {
  const { line, lines } = await begin(() => "done");
  line.end(new ConnectError("going", Code.Unavailable));
  const second = await lines.take();
  second.end();
  const third = await lines.take();
  third.lease("l1", "");
  assert.equal(decode((await third.next("reply")).output), "done");
});

test("a worker that is refused for what it is rejects with the server's error", async () => {
  for (const code of [Code.InvalidArgument, Code.Unauthenticated, Code.Unimplemented]) {
    const { line, over } = await begin(() => "x");
    line.end(new ConnectError("not you", code));
    await assert.rejects(over, { message: "not you" });
  }
});

test("an aborted signal ends the leases at once, and run rejects with its reason", async () => {
  const { line, over, stop } = await begin(({ signal }) => stopped(signal));
  line.lease("l1", "");
  await line.next("hello");
  const why = new Error("enough");
  stop.abort(why);
  await assert.rejects(over, (error) => error === why);
});

test("a worker without agents is refused before it connects", async () => {
  await assert.rejects(new Worker("127.0.0.1:1").run(), { code: "INVALID_ARGUMENT", message: /^agents: / });
});

test("the first of the signals drains the worker", async () => {
  const worker = new Worker("127.0.0.1:1", { log: () => undefined }).agent("shout", () => "x");
  const over = worker.run({ drainOn: ["SIGUSR2"] });
  process.kill(process.pid, "SIGUSR2");
  await over;
  assert.equal(process.listenerCount("SIGUSR2"), 0);
});
