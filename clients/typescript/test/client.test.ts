import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, decode, duration, group, mapInput, MotetError, State, unwrap } from "../src/index.js";
import { missing, Server } from "./server.js";

const LONG = "long";

describe("against a real server", { skip: missing }, () => {
  let server: Server;
  let client: Client;
  before(async () => {
    server = await Server.start();
    client = new Client(server.address);
  });
  after(async () => {
    client.close();
    await server.stop();
  });

  test("a run of a group and of a plan given here comes back with its answer", async () => {
    assert.equal(unwrap(await client.run("echoes", "hi")), "hi");
    const plan = group({ name: "g", members: [{ agent: "echo" }], aggregation: { name: "first" } });
    const result = await client.run(plan, new TextEncoder().encode("bytes"), { labels: { a: "b" }, tenant: "acme" });
    assert.equal(unwrap(result), "bytes");
  });

  test("a run whose members failed is a result", async () => {
    const slow = group({ name: "g", members: [{ agent: "slow", timeout: duration(50) }] });
    const result = await client.run(slow);
    assert.equal(result.state, State.FAILED);
    assert.equal(result.groups[0]?.outcomes[0]?.state, State.TIMED_OUT);
    assert.throws(() => unwrap(result), { name: "RunFailed" });
  });

  test("events come in order, and the result after the last", async () => {
    const run = client.stream("echoes", "hi");
    const kinds = [];
    for await (const event of run) {
      kinds.push(event.detail.case);
      assert.equal(event.sequence, BigInt(kinds.length));
    }
    assert.equal(kinds[0], "runStarted");
    assert.equal(kinds.at(-1), "runEnded");
    assert.equal(run.result?.runId, run.runId);
  });

  test("a stream that was left does not start a second run", async () => {
    const run = client.stream(LONG);
    for await (const event of run) if (event.detail.case === "memberStarted") break;
    await assert.rejects(run[Symbol.asyncIterator]().next(), { code: "FAILED_PRECONDITION" });
  });

  test("leaving the loop of a stream cancels its run", async () => {
    let runs = 0;
    for await (const event of client.stream(LONG)) if (event.detail.case === "memberStarted") break;
    for (let tries = 0; tries < 100; tries++) {
      const { uses } = await client.limits();
      runs = uses.find((use) => use.scope === "engine" && use.what === "running")?.used ?? 0;
      if (runs === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(runs, 0);
  });

  test("an aborted signal cancels the call, with its reason as cause", async () => {
    const abort = new AbortController();
    const run = client.stream(LONG, "", { signal: abort.signal });
    const why = new Error("enough");
    await assert.rejects(
      async () => {
        for await (const event of run) if (event.detail.case === "memberStarted") abort.abort(why);
      },
      (error) => error instanceof MotetError && error.code === "CANCELLED" && error.cause === why,
    );
    await assert.rejects(client.run(LONG, "", { signal: AbortSignal.abort() }), { code: "CANCELLED" });
  });

  test("a background run is watched, found, listed and cancelled", async () => {
    const { runId, existing } = await client.start(LONG, "x", { requestId: "typescript-1", labels: { of: "test" } });
    assert.equal(existing, false);
    assert.deepEqual(await client.start(LONG, "x", { requestId: "typescript-1", labels: { of: "test" } }), {
      $typeName: "motet.v1.StartRunResponse",
      runId,
      existing: true,
    });
    const first = client.watch(runId);
    for await (const event of first) if (event.detail.case === "memberEnded") break;
    assert.equal((await client.get(runId)).state, State.RUNNING);
    const listed = [];
    for await (const run of client.list({ labels: { of: "test" }, pageSize: 1 })) listed.push(run.runId);
    assert.deepEqual(listed, [runId]);
    const rest = (async () => {
      const numbers = [];
      for await (const event of first) numbers.push(event.sequence);
      return numbers;
    })();
    const cancelled = await client.cancel(runId);
    assert.equal(cancelled.state, State.CANCELLED);
    const from = (await rest)[0];
    assert.ok(from !== undefined && from > 4n);
    assert.equal(first.result?.state, State.CANCELLED);
    const again = client.watch(runId, { after: first.lastSequence - 1n });
    for await (const event of again) assert.equal(event.detail.case, "runEnded");
    assert.equal(again.result?.runId, runId);
  });

  test("the timeout ends the run with what was finished, the deadline ends the call", async () => {
    const result = await client.run(LONG, "kept", { timeout: 300 });
    const [kept, late] = result.groups[0]?.outcomes ?? [];
    assert.equal(decode(kept?.output), "kept");
    assert.equal(late?.state, State.TIMED_OUT);
    await assert.rejects(client.run(LONG, "", { deadline: 200 }), { code: "DEADLINE_EXCEEDED" });
    await assert.rejects(client.run(LONG, "", { deadline: 0 }), { code: "DEADLINE_EXCEEDED" });
  });

  test("a map answers each input once, under its name", async () => {
    async function* inputs() {
      for (let number = 0; number < 20; number++) yield mapInput(`text ${number}`, `n${number}`);
    }
    const answers = new Map<string, unknown>();
    for await (const { id, result } of client.map("echoes", inputs(), { maxInFlight: 4 })) {
      answers.set(id, decode(result?.output));
    }
    assert.equal(answers.size, 20);
    assert.equal(answers.get("n7"), "text 7");
  });

  test("a map that is refused while its inputs are sent tells the server's error", async () => {
    const nothing = group({ name: "g", members: [] });
    for (let tries = 0; tries < 20; tries++) {
      await assert.rejects(
        async () => {
          for await (const _ of client.map(nothing, ["a", "b", "c"]));
        },
        { name: "MotetError", code: "INVALID_ARGUMENT" },
      );
    }
  });

  test("what the inputs of a map throw comes out, and leaving a map ends its inputs", async () => {
    const why = new Error("no more");
    async function* broken() {
      yield "one";
      throw why;
    }
    await assert.rejects(
      async () => {
        for await (const _ of client.map("echoes", broken()));
      },
      (error) => error === why,
    );
    let ended = false;
    function* endless() {
      try {
        for (;;) yield "again";
      } finally {
        ended = true;
      }
    }
    for await (const _ of client.map("echoes", endless(), { maxInFlight: 2 })) break;
    for (let tries = 0; tries < 100 && !ended; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(ended);
  });

  test("errors carry code, reason and violations", async () => {
    await assert.rejects(client.run("nobody"), { code: "NOT_FOUND", reason: "GROUP_NOT_FOUND" });
    await assert.rejects(client.get("run_missing"), { code: "NOT_FOUND", reason: "RUN_NOT_FOUND" });
    const wrong = group({ name: "g", members: [{ agent: "echo" }, { agent: "nobody" }] });
    await assert.rejects(client.run(wrong), (error) => {
      assert.ok(error instanceof MotetError);
      assert.deepEqual(
        error.violations.map(({ field }) => field),
        ["plan.group.members[1].agent"],
      );
      return true;
    });
    await assert.rejects(client.run("echoes", "x", { tenant: "spent" }), {
      code: "RESOURCE_EXHAUSTED",
      reason: "QUOTA_EXCEEDED",
    });
  });

  test("wrong values are refused before anything is sent, naming the field", async () => {
    const fields = async (call: Promise<unknown>) =>
      call.then(
        () => [],
        (error: MotetError) => error.violations.map(({ field }) => field),
      );
    assert.deepEqual(await fields(client.run("echoes", Number.NaN)), ["input"]);
    assert.deepEqual(await fields(client.run("echoes", "", { variables: { a: undefined } })), ["variables"]);
    assert.deepEqual(await fields(client.run("echoes", "", { timeout: -1 })), ["timeout"]);
    assert.deepEqual(await fields(client.run("echoes", "", { deadline: -1 })), ["deadline"]);
    const many = group({ name: "g", members: [{ agent: "echo", replicas: 2 ** 40 }] });
    await assert.rejects(client.run(many), { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
  });

  test("agents and limits are listed", async () => {
    const names = (await client.agents()).map(({ name }) => name);
    assert.deepEqual(names, ["echo", "shout", "slow"]);
    assert.ok((await client.limits()).waiting === 0n);
  });

  test("messages of several MiB pass", async () => {
    const text = "x".repeat(4 * 1024 * 1024);
    const result = await client.run("echoes", text);
    assert.equal(unwrap(result), text);
  });
});

test("a server that dies is UNAVAILABLE for what was going on", { skip: missing }, async () => {
  const server = await Server.start();
  const client = new Client(server.address);
  try {
    const run = client.stream(LONG);
    await assert.rejects(
      async () => {
        for await (const event of run) if (event.detail.case === "memberStarted") await server.stop("SIGKILL");
      },
      { code: "UNAVAILABLE" },
    );
    await assert.rejects(client.get("run_missing"), { code: "UNAVAILABLE" });
  } finally {
    client.close();
    await server.stop();
  }
});
