// Clients and workers of this package on a real server.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import {
  type AgentFunction,
  Client,
  duration,
  group,
  State,
  StopReceipt_Kind as Kind,
  unwrap,
  Worker,
  type WorkerOptions,
} from "../src/index.js";
import { noCertificates, selfSigned } from "./certificate.js";
import { missing, newToken, Server } from "./server.js";

const shout = group({ name: "g", members: [{ agent: "shout" }], aggregation: { name: "first" } });

/** A worker that the server has taken; with what to call to let it leave. */
async function work(t: TestContext, address: string, does: AgentFunction, options: WorkerOptions = {}) {
  const stop = new AbortController();
  const leave = await new Promise<() => Promise<void>>((resolve, reject) => {
    const worker = new Worker(address, { log: () => undefined, ...options, onWelcome: () => resolve(drain) });
    const over = worker.agent({ name: "shout", capacity: 2, replaySafe: true }, does).run({ signal: stop.signal });
    over.catch(reject);
    const drain = () => (worker.drain(), over);
  });
  t.after(() => stop.abort());
  return { leave, stop };
}

test("a member lives in a worker, and is stopped there with a receipt", { skip: missing }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const client = new Client(server.address);
  t.after(() => client.close());
  let aborted: unknown;
  const { leave } = await work(t, server.address, async (call) => {
    if (call.input !== "wait") return String(call.input).toUpperCase();
    await new Promise((resolve) => (call.signal.onabort = resolve));
    aborted = call.signal.reason;
    throw aborted;
  });
  assert.equal(unwrap(await client.run(shout, "hi")), "HI");
  const late = group({ name: "g", members: [{ agent: "shout", timeout: duration(100) }] });
  const outcome = (await client.run(late, "wait")).groups[0]?.outcomes[0];
  assert.equal(outcome?.state, State.TIMED_OUT);
  assert.equal(outcome.stop?.kind, Kind.STOPPED);
  assert.ok(aborted instanceof Error);
  await leave();
});

test("a call that is lost with its worker is given to another", { skip: missing }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const client = new Client(server.address);
  t.after(() => client.close());
  let taken = () => {};
  const begun = new Promise<void>((resolve) => (taken = resolve));
  const first = await work(t, server.address, ({ signal }) => {
    taken();
    return new Promise((_, reject) => (signal.onabort = () => reject(signal.reason)));
  });
  const running = client.run(shout, "x");
  await begun;
  const second = await work(t, server.address, () => "from the other");
  first.stop.abort();
  assert.equal(unwrap(await running), "from the other");
  await second.leave();
});

test("a worker comes back to a server that was away", { skip: missing }, async (t) => {
  const first = await Server.start();
  const { leave } = await work(t, first.address, () => "back");
  await first.stop("SIGKILL");
  const second = await Server.start("--address", first.address);
  t.after(() => second.stop());
  const client = new Client(second.address);
  t.after(() => client.close());
  assert.equal(unwrap(await client.run(shout, "x")), "back");
  await leave();
});

test("TLS and tokens let in who has them", { skip: missing || noCertificates }, async (t) => {
  const { folder, certFile, keyFile } = selfSigned(t);
  const [works, runs] = [newToken("works", "work"), newToken("runs", "run")];
  const tokens = join(folder, "tokens.toml");
  writeFileSync(tokens, `${works.table}\n${runs.table}\n`);
  const authority = ["--tls-cert", certFile, "--tls-key", keyFile, "--client-ca", certFile];
  const server = await Server.start(...authority, "--tokens", tokens);
  t.after(() => server.stop());
  const tls = { caFile: certFile, certFile, keyFile };
  const { leave } = await work(t, server.address, () => "let in", { tls, token: works.token });
  const client = new Client(server.address, { tls, token: runs.token });
  t.after(() => client.close());
  assert.equal(unwrap(await client.run(shout, "x")), "let in");
  await leave();
  const nobody = new Client(server.address, { tls });
  t.after(() => nobody.close());
  await assert.rejects(nobody.run(shout, "x"), { code: "UNAUTHENTICATED" });
  const wrong = work(t, server.address, () => "x", { tls, token: runs.token });
  await assert.rejects(wrong, { code: "PERMISSION_DENIED" });
});
