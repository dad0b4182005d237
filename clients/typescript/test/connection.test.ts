// What is sent with calls, what is repeated, and how a watch comes back.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { Client, type Event, type EventSchema, RunService, State } from "../src/index.js";
import { noCertificates, selfSigned } from "./certificate.js";
import { Fake } from "./fake.js";

type Runs = Partial<ServiceImpl<typeof RunService>>;

async function serve(t: TestContext, runs: Runs): Promise<Fake> {
  const fake = await Fake.serve((router) => router.service(RunService, runs));
  t.after(() => fake.stop());
  return fake;
}

function away(): ConnectError {
  return new ConnectError("away", Code.Unavailable);
}

test("token, metadata, depth and deadline go with a call", async (t) => {
  let header = new Headers();
  const fake = await serve(t, {
    run(_, { requestHeader }) {
      header = requestHeader;
      return { result: { state: State.SUCCEEDED } };
    },
  });
  const client = new Client(fake.address, { token: "secret", metadata: { "x-who": "me" } });
  process.env["MOTET_DEPTH"] = "2";
  t.after(() => delete process.env["MOTET_DEPTH"]);
  await client.run("g", "", { timeout: 1000 });
  client.close();
  assert.equal(header.get("authorization"), "Bearer secret");
  assert.equal(header.get("x-who"), "me");
  assert.equal(header.get("motet-depth"), "2");
  assert.equal(header.get("grpc-timeout"), "6000m");
});

test("a read that meets UNAVAILABLE is made again, and given up after three tries", async (t) => {
  let calls = 0;
  const fake = await serve(t, {
    getRun() {
      if (++calls < 3) throw away();
      return { run: { runId: "r" } };
    },
    listLimits() {
      calls++;
      throw away();
    },
  });
  const client = new Client(fake.address);
  assert.equal((await client.get("r")).runId, "r");
  assert.equal(calls, 3);
  calls = 0;
  await assert.rejects(client.limits(), { code: "UNAVAILABLE", message: "away" });
  assert.equal(calls, 3);
  client.close();
});

test("a run is made again only when its key keeps it single, a cancel never", async (t) => {
  let calls = 0;
  const fake = await serve(t, {
    run() {
      if (++calls === 1) throw away();
      return { result: { runId: "r" } };
    },
    startRun() {
      if (++calls === 1) throw away();
      return { runId: "r" };
    },
    cancelRun() {
      calls++;
      throw away();
    },
  });
  const client = new Client(fake.address);
  for (const call of [() => client.run("g"), () => client.start("g"), () => client.cancel("r")]) {
    calls = 0;
    await assert.rejects(call(), { code: "UNAVAILABLE" });
    assert.equal(calls, 1);
  }
  for (const call of [client.run, client.start]) {
    calls = 0;
    const { runId }: { runId: string } = await call.bind(client)("g", "", { requestId: "key" });
    assert.deepEqual([runId, calls], ["r", 2]);
  }
  client.close();
});

test("an abort ends the wait before a repeat", async (t) => {
  const abort = new AbortController();
  const fake = await serve(t, {
    getRun() {
      abort.abort();
      throw away();
    },
  });
  const client = new Client(fake.address);
  await assert.rejects(client.get("r", { signal: abort.signal }), { code: "CANCELLED" });
  client.close();
});

const events = (...numbers: number[]): MessageInitShape<typeof EventSchema>[] =>
  numbers.map((number) => ({ sequence: BigInt(number), detail: { case: "memberProgress", value: {} } }));

async function numbersOf(stream: AsyncIterable<Event>): Promise<number[]> {
  const numbers = [];
  for await (const event of stream) numbers.push(Number(event.sequence));
  return numbers;
}

test("a watch comes back after the last event seen, so that none is missing and none comes twice", async (t) => {
  const asked: bigint[] = [];
  const fake = await serve(t, {
    async *watchRun({ afterSequence }) {
      asked.push(afterSequence);
      const runId = "r";
      if (asked.length === 1) {
        yield { runId, events: events(1, 2) };
        throw away();
      }
      if (asked.length === 2) {
        yield { runId, events: events(2, 3) };
        yield { runId, events: events(5) };
      }
      if (asked.length === 3) {
        yield { runId, events: events(4) };
        fake.drop();
      }
      yield { runId, events: events(5), result: { runId } };
    },
  });
  const client = new Client(fake.address);
  const stream = client.watch("r");
  assert.deepEqual(await numbersOf(stream), [1, 2, 3, 4, 5]);
  assert.deepEqual(asked, [0n, 2n, 3n, 4n]);
  assert.equal(stream.result?.runId, "r");
  client.close();
});

test("a watch that may not resume, or is refused, fails at once", async (t) => {
  let calls = 0;
  const fake = await serve(t, {
    async *watchRun({ runId }) {
      calls++;
      yield { runId, events: events(1) };
      throw runId === "gone" ? new ConnectError("gone", Code.NotFound) : away();
    },
  });
  const client = new Client(fake.address);
  await assert.rejects(numbersOf(client.watch("r", { resume: false })), { code: "UNAVAILABLE" });
  await assert.rejects(numbersOf(client.watch("gone")), { code: "NOT_FOUND" });
  assert.equal(calls, 2);
  client.close();
});

test("a stream does not come back: its run is gone with the connection", async (t) => {
  let calls = 0;
  const fake = await serve(t, {
    async *streamRun() {
      calls++;
      yield { runId: "r", events: events(1) };
    },
  });
  const client = new Client(fake.address);
  await assert.rejects(numbersOf(client.stream("g")), { code: "UNAVAILABLE", reason: "STREAM_ENDED" });
  assert.equal(calls, 1);
  client.close();
});

test("closing cancels what is open, also a watch, and refuses what comes after", async (t) => {
  let opened = () => {};
  const open = new Promise<void>((resolve) => (opened = resolve));
  const fake = await serve(t, {
    async *watchRun(_, { signal }) {
      yield { runId: "r", events: events(1) };
      opened();
      await new Promise((resolve) => (signal.onabort = resolve));
    },
  });
  const client = new Client(fake.address);
  const watching = numbersOf(client.watch("r"));
  watching.catch(() => undefined);
  await open;
  client.close();
  await assert.rejects(watching, { code: "CANCELLED" });
  await assert.rejects(client.get("r"), { code: "CANCELLED", message: "the client is closed" });
});

test("nobody at the address is UNAVAILABLE, soon also for a watch", async (t) => {
  const fake = await Fake.serve(() => undefined);
  const { address } = fake;
  await fake.stop();
  const client = new Client(address);
  t.after(() => client.close());
  await assert.rejects(client.agents(), { code: "UNAVAILABLE" });
  await assert.rejects(numbersOf(client.watch("r")), { code: "UNAVAILABLE" });
});

test("an address or a file that is none is refused, naming the option", () => {
  assert.throws(() => new Client("127.0.0.1:1", { token: "two\nlines" }), { message: /^token: / });
  assert.throws(() => new Client("127.0.0.1:1", { metadata: { "not a name": "" } }), { message: /^metadata: / });
  assert.throws(() => new Client("not an address"), { code: "INVALID_ARGUMENT", message: /^address: / });
  assert.throws(() => new Client("127.0.0.1:1", { tls: { caFile: "/no/such/file" } }), { message: /^tls: / });
});

test("TLS checks the server against the CA file and shows a certificate", { skip: noCertificates }, async (t) => {
  const { certFile, keyFile } = selfSigned(t);
  const pem = readFileSync(certFile);
  const fake = await Fake.serve(
    (router) => router.service(RunService, { getRun: ({ runId }) => ({ run: { runId } }) }),
    {
      ...{ cert: pem, key: readFileSync(keyFile), ca: pem, requestCert: true, rejectUnauthorized: true },
    },
  );
  t.after(() => fake.stop());
  const known = new Client(fake.address, { tls: { caFile: certFile, certFile, keyFile } });
  t.after(() => known.close());
  assert.equal((await known.get("r")).runId, "r");
  for (const tls of [{}, { caFile: certFile }]) {
    const stranger = new Client(fake.address, { tls });
    t.after(() => stranger.close());
    await assert.rejects(stranger.get("r"), { code: "UNAVAILABLE" });
  }
});
