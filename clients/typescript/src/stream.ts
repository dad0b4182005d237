// A run's events as they happen, and how a watch comes back after a broken connection. Each event comes out once and in
// order: what was seen is dropped, and what is missing breaks the connection, so that a new one asks for it.
import { setTimeout as sleep } from "node:timers/promises";
import { backoff, bounds, type CallOptions } from "./connection.js";
import { asMotetError, MotetError } from "./errors.js";
import type { Event, RunResult } from "./gen/motet/v1/run_pb.js";

const FIRST_TRIES = 3; // Before the server was heard: the address may be wrong, so that is soon.
const TRIES = 10; // In a row without anything new; with the delays, half a minute.

type Given = ReturnType<typeof bounds>;
interface Message {
  events: Event[];
  result?: RunResult | undefined;
  runId: string;
}

/** The events of one run, for one `for await`. Leaving the loop ends the call. */
export class RunStream implements AsyncIterable<Event> {
  /** Known from the first event on, and always of a watch. */
  runId = "";
  /** Number of the last event seen. */
  lastSequence = 0n;
  /** How the run ended. Undefined before the end of the events. */
  result: RunResult | undefined;
  #heard = false;
  #opened = false;

  constructor(
    private readonly open: (after: bigint, given: Given) => AsyncIterable<Message>,
    private readonly options: CallOptions & { resume?: boolean },
    private readonly deadline?: number,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Event, void, undefined> {
    if (this.#opened && !this.options.resume && this.result === undefined) {
      throw new MotetError("FAILED_PRECONDITION", "the loop was left, and the stream with it", {
        reason: "STREAM_ENDED",
      });
    }
    this.#opened = true;
    const whole = bounds(this.options, this.deadline);
    const endsAt = performance.now() + (whole.timeoutMs ?? Infinity);
    for (let attempt = 1; this.result === undefined; attempt++) {
      const before = this.lastSequence;
      const leaving = new AbortController();
      const left = endsAt - performance.now();
      const signal = AbortSignal.any([whole.signal, leaving.signal]);
      try {
        yield* this.#follow({ signal, ...(left < Infinity && { timeoutMs: Math.max(1, Math.ceil(left)) }) });
      } catch (cause) {
        if (this.result !== undefined) return;
        const failed = asMotetError(cause, whole.signal);
        if (this.lastSequence > before) attempt = 1;
        const broken = failed.code === "UNAVAILABLE" || failed.reason === "EVENT_GAP";
        if (!this.options.resume || !broken || attempt >= (this.#heard ? TRIES : FIRST_TRIES)) throw failed;
        await sleep(backoff(attempt, failed), undefined, { signal: whole.signal }).catch((error: unknown) => {
          throw asMotetError(error, whole.signal);
        });
      } finally {
        leaving.abort();
      }
    }
  }

  /** What one connection brings. */
  async *#follow(given: Given): AsyncGenerator<Event, void, undefined> {
    for await (const message of this.open(this.lastSequence, given)) {
      this.#heard = true;
      this.runId = message.runId || this.runId;
      for (const event of message.events) {
        if (event.sequence <= this.lastSequence) continue;
        if (event.sequence > this.lastSequence + 1n) {
          const text = `the server sent event ${event.sequence} after event ${this.lastSequence}`;
          throw new MotetError("INTERNAL", text, { reason: "EVENT_GAP" });
        }
        this.lastSequence = event.sequence;
        yield event;
      }
      this.result = message.result;
    }
    if (this.result !== undefined) return;
    throw new MotetError("UNAVAILABLE", "the server ended the stream before the result", { reason: "STREAM_ENDED" });
  }
}
