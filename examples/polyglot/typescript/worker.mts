// The TypeScript member: on which day of the week a date falls, by the JavaScript engine. Usage: worker.mjs ADDRESS
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "../../../clients/typescript/dist/src/index.js";

const worker = new Worker(process.argv[2]!, { id: "typescript" });

worker.agent({ name: "typescript", version: "1", capacity: 4 }, async ({ input, variables, signal, report }) => {
  await report("looks at the calendar");
  await sleep(1000 * Number(variables["pause"] ?? 0), undefined, { signal });
  return new Date(`${String(input)}T00:00:00Z`).toLocaleDateString("en", { weekday: "long", timeZone: "UTC" });
});

await worker.run({ drainOn: ["SIGTERM", "SIGINT"] });
