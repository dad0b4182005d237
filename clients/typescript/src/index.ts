// Everything public: the client, the worker, and the messages of the contract.
export * from "./gen/motet/v1/catalog_service_pb.js";
export * from "./gen/motet/v1/payload_pb.js";
export * from "./gen/motet/v1/plan_pb.js";
export * from "./gen/motet/v1/run_pb.js";
export * from "./gen/motet/v1/run_service_pb.js";
export { AgentFailure, type AgentFunction, type Call, reply } from "./agent.js";
export type { Lease, LeaseReply, WorkerAgent } from "./gen/motet/v1/worker_service_pb.js";
export { Client, mapInput, type MapOptions, type RunOptions } from "./client.js";
export type { CallOptions, ConnectOptions } from "./connection.js";
export { MotetError, RunFailed, type Violation } from "./errors.js";
export { decode, duration, encode, group, parallel, sequence, unwrap } from "./payload.js";
export { RunStream } from "./stream.js";
export { Worker, type WorkerOptions } from "./worker.js";
