// The programs of the README do what it says.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { decode, duration, encode } from "../src/index.js";
import { type LeaseReply, WorkerService } from "../src/gen/motet/v1/worker_service_pb.js";
import { Fake, Inbox } from "./fake.js";
import { missing, Server } from "./server.js";

const ROOT = join(import.meta.dirname, "..", "..");
const PROGRAMS = [...readFileSync(join(ROOT, "README.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(
  ([, code]) => code,
);

/** A program of the README that talks to this address. It lies in the package, whose name it imports. */
function start(t: TestContext, place: number, address: string) {
  const path = join(import.meta.dirname, `readme-${place}.mjs`);
  writeFileSync(path, (PROGRAMS[place] ?? "").replace("127.0.0.1:50061", address));
  const child = spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(path);
  });
  return child;
}

test("the client of the README prints what members said, and the answer", { skip: missing }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const child = start(t, 0, server.address);
  let said = "";
  child.stdout.on("data", (chunk) => (said += String(chunk)));
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 0);
  assert.equal(said, `echo {"path":"src"}\n{"path":"src"}\n`);
});

test("the worker of the README answers, and leaves on SIGTERM", async (t) => {
  const replies = new Inbox<LeaseReply>();
  const drained = new Inbox<boolean>();
  const fake = await Fake.serve((router) => {
    router.service(WorkerService, {
      async *serve(messages) {
        const heartbeatInterval = duration(5000);
        yield { message: { case: "welcome", value: { heartbeatInterval, epoch: 1n } } };
        const input = encode("hi");
        yield { message: { case: "lease", value: { leaseId: "l", epoch: 1n, agent: "shout", input } } };
        for await (const { message } of messages) {
          if (message.case === "reply") replies.put(message.value);
          if (message.case === "drain") return drained.put(true);
        }
      },
    });
  });
  t.after(() => fake.stop());
  const child = start(t, 1, fake.address);
  assert.equal(decode((await replies.take()).output), "HI");
  child.kill("SIGTERM");
  await drained.take();
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
});
