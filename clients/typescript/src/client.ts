// The client: what may be asked of a server. What is received are the messages of the contract, whose comments say what
// each field means.
import { create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client as ServiceClient, createClient } from "@connectrpc/connect";
import { bounds, call, type CallOptions, connect, type ConnectOptions } from "./connection.js";
import { asMotetError, MotetError, naming } from "./errors.js";
import { type Agent, CatalogService } from "./gen/motet/v1/catalog_service_pb.js";
import { type LimitsSchema, type Plan } from "./gen/motet/v1/plan_pb.js";
import type { Run, RunResult, State } from "./gen/motet/v1/run_pb.js";
import {
  type ListLimitsResponse,
  type MapInput,
  MapInputSchema,
  MapOpenSchema,
  type MapRunRequest,
  MapRunRequestSchema,
  type MapRunResponse,
  type RunRequest,
  RunRequestSchema,
  RunService,
  type StartRunResponse,
} from "./gen/motet/v1/run_service_pb.js";
import { duration, encode, encodeAll } from "./payload.js";
import { RunStream } from "./stream.js";

const GRACE = 5_000; // A call outlives its run's timeout, so that the partial result of a run that timed out arrives.

/** What the runs of a map may be given. Times are in milliseconds; all may be left out. */
export interface MapOptions extends CallOptions {
  /** For each run; the call itself may take 5 s more. 0 means already over. */
  timeout?: number | undefined;
  variables?: Record<string, unknown>;
  /** The conversation that the run belongs to. */
  sessionId?: string;
  /** On whose account the run is. */
  tenant?: string;
  /** Bounds of the run; they tighten the catalog's. */
  limits?: MessageInitShape<typeof LimitsSchema>;
  /** Kept with the run and given back. */
  labels?: Record<string, string>;
}

/** What a run may be given. Times are in milliseconds; all may be left out. */
export interface RunOptions extends MapOptions {
  /** The caller's key, which makes a repeat safe: the same key with the same request joins the run that it started. */
  requestId?: string;
}

/**
 * A connection to a server, made when it is first used and made again when it breaks. Every call fails with a MotetError.
 *
 * A target is the name of a group in the server's catalog, or a plan. An input is a string, a Uint8Array, a Payload, or
 * any JSON value. Reads that meet UNAVAILABLE are made again, up to three tries; so are `run` and `start` with a
 * `requestId`. Nothing else is repeated, but that a watch comes back.
 */
export class Client {
  /** The services as generated, for what has no shorter form here. Their errors are Connect's. */
  readonly runs: ServiceClient<typeof RunService>;
  readonly catalog: ServiceClient<typeof CatalogService>;
  /** Cancels what is open and lets the connection go. */
  readonly close: () => void;

  constructor(address: string, options: ConnectOptions = {}) {
    const { transport, close } = connect(address, options);
    this.runs = createClient(RunService, transport);
    this.catalog = createClient(CatalogService, transport);
    this.close = close;
  }

  /** Runs to the end. A run whose members failed is a result too; `unwrap` throws for it. */
  async run(target: string | Plan, input: unknown = "", options: RunOptions = {}): Promise<RunResult> {
    const request = makeRun(target, input, options);
    const response = await call(options, (given) => this.runs.run(request, given), deadlineOf(options));
    return response.result as RunResult;
  }

  /** Runs, with its events: `for await (const event of run)`, then `run.result`. Leaving the loop cancels the run. */
  stream(target: string | Plan, input: unknown = "", options: RunOptions = {}): RunStream {
    const request = makeRun(target, input, options);
    return new RunStream((_, given) => this.runs.streamRun({ request }, given), options, deadlineOf(options));
  }

  /** Starts a run in the background. `existing` says that the requestId was known, and this is the run it had started. */
  async start(target: string | Plan, input: unknown = "", options: RunOptions = {}): Promise<StartRunResponse> {
    const request = makeRun(target, input, options);
    return call(options, (given) => this.runs.startRun({ request }, given));
  }

  /**
   * Follows a background run from the event after a number, to its end. A broken connection is made again from the last
   * event seen, unless `resume` is false. Leaving the loop does not stop the run, and another loop goes on.
   */
  watch(runId: string, options: CallOptions & { after?: bigint; resume?: boolean } = {}): RunStream {
    const open: ConstructorParameters<typeof RunStream>[0] = (afterSequence, given) =>
      this.runs.watchRun({ runId, afterSequence }, given);
    const stream = new RunStream(open, { resume: true, ...options }, options.deadline);
    stream.runId = runId;
    stream.lastSequence = options.after ?? 0n;
    return stream;
  }

  /** Where a background run stands, with its result once it has ended. */
  async get(runId: string, options: CallOptions = {}): Promise<Run> {
    return (await call(options, (given) => this.runs.getRun({ runId }, given))).run as Run;
  }

  /** Background runs, newest first, without results. Pages are fetched as they are needed. */
  async *list(
    filter: { states?: State[]; labels?: Record<string, string>; pageSize?: number } = {},
    options: CallOptions = {},
  ): AsyncGenerator<Run, void, undefined> {
    let pageToken = "";
    do {
      const page = await call(options, (given) => this.runs.listRuns({ ...filter, pageToken }, given));
      yield* page.runs;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** Stops a run and waits for its result with the stop receipts. */
  async cancel(runId: string, options: CallOptions = {}): Promise<Run> {
    return (await call(options, (given) => this.runs.cancelRun({ runId }, given))).run as Run;
  }

  /**
   * One run for each input: a value, or a `mapInput`. Answers come as runs end. Inputs are not read much faster than
   * they are run. Leaving the loop cancels what runs.
   */
  async *map(
    target: string | Plan,
    inputs: AsyncIterable<unknown> | Iterable<unknown>,
    options: MapOptions & { maxInFlight?: number } = {},
  ): AsyncGenerator<MapRunResponse, void, undefined> {
    const { input: _, ...request } = makeRun(target, "", options);
    const leaving = new AbortController();
    const given = bounds(options);
    let [sent, received, complete] = [0, 0, false];
    let failure: { cause: unknown } | undefined;
    // Apart from what is sent: into that, the error of a broken call is thrown, which is none of the inputs.
    async function* encoded(): AsyncGenerator<MapInput> {
      try {
        for await (const value of inputs) {
          yield naming(`inputs[${sent}]`, () => (isMessage(value, MapInputSchema) ? value : mapInput(value)));
        }
        complete = true;
      } catch (cause) {
        failure = { cause };
        leaving.abort();
      }
    }
    async function* messages(): AsyncGenerator<MapRunRequest> {
      const value = create(MapOpenSchema, { request, maxInFlight: options.maxInFlight ?? 0 });
      yield create(MapRunRequestSchema, { message: { case: "open", value } });
      for await (const input of encoded()) {
        sent++;
        yield create(MapRunRequestSchema, { message: { case: "input", value: input } });
      }
    }
    try {
      const signal = AbortSignal.any([given.signal, leaving.signal]);
      for await (const answer of this.runs.mapRun(messages(), { ...given, signal })) {
        received++;
        yield answer;
      }
    } catch (cause) {
      throw failure === undefined ? asMotetError(cause, given.signal) : failure.cause;
    } finally {
      leaving.abort();
    }
    if (complete && received === sent) return;
    const text = `the server ended the stream after ${received} of ${sent} answers`;
    throw new MotetError("INTERNAL", text, { reason: "STREAM_ENDED" });
  }

  /** What is in use of every limit now; with a tenant, only of its own and its runs'. */
  async limits(tenant = "", options: CallOptions = {}): Promise<ListLimitsResponse> {
    return call(options, (given) => this.runs.listLimits({ tenant }, given));
  }

  /** All agents of the server, by name. */
  async agents(options: CallOptions = {}): Promise<Agent[]> {
    return (await call(options, (given) => this.catalog.listAgents({}, given))).agents;
  }
}

/** One input of a map with a name, given back with its answer, and variables of its own. */
export function mapInput(input: unknown, id = "", variables: Record<string, unknown> = {}): MapInput {
  return create(MapInputSchema, { id, input: encode(input), variables: encodeAll(variables) });
}

function makeRun(target: string | Plan, input: unknown, options: RunOptions): RunRequest {
  const { requestId = "", sessionId = "", tenant = "", labels = {}, limits, timeout } = options;
  return create(RunRequestSchema, {
    target: typeof target === "string" ? { case: "groupName", value: target } : { case: "plan", value: target },
    ...{ requestId, sessionId, tenant, labels },
    input: naming("input", () => encode(input)),
    variables: naming("variables", () => encodeAll(options.variables)),
    ...(limits !== undefined && { limits }),
    ...(timeout !== undefined && { timeout: naming("timeout", () => duration(timeout)) }),
  });
}

function deadlineOf({ deadline, timeout }: RunOptions): number | undefined {
  return deadline ?? (timeout === undefined ? undefined : timeout + GRACE);
}
