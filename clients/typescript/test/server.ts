// A real server for tests: `motet` of MOTET_BIN or PATH, with a small catalog. Tests are skipped where there is none.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const CATALOG = `
[agents.echo]
kind = "command"
argv = ["cat"]

[agents.slow]
kind = "command"
argv = ["sleep", "30"]

[agents.shout]
kind = "remote"
queue_timeout = "10s"

[groups.echoes]
members = ["echo"]
aggregation = "first"

[groups.review]
members = ["echo"]
aggregation = "first"

[groups.long]
members = ["echo", "slow"]
aggregation = { name = "combine", early_stop = false }

[tenants.spent]
per_day = { calls = 0 }
`;

const PROGRAM = process.env["MOTET_BIN"] ?? "motet";

/** Why tests against a real server are skipped, or false. */
export const missing = (() => {
  try {
    execFileSync(PROGRAM, ["--help"], { stdio: "ignore" });
    return false;
  } catch {
    return `no ${PROGRAM} here: put it in PATH, or name it in MOTET_BIN`;
  }
})();

/** A token for the tenant acme with these rights, and its table for the server's file of tokens. */
export function newToken(name: string, ...rights: string[]): { token: string; table: string } {
  const given = ["token", "new", name, "--tenant", "acme", "--json", ...rights.flatMap((right) => ["--right", right])];
  return JSON.parse(execFileSync(PROGRAM, given, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

export class Server {
  private constructor(
    readonly address: string,
    private readonly process: ChildProcess,
    private readonly folder: string,
  ) {}

  static async start(...flags: string[]): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), "motet-ts-"));
    const catalog = join(folder, "catalog.toml");
    writeFileSync(catalog, CATALOG);
    const portFile = join(folder, "port");
    const address = flags.includes("--address") ? [] : ["--address", "127.0.0.1:0"];
    const bind = [...address, "--port-file", portFile];
    const child = spawn(PROGRAM, ["serve", catalog, ...bind, "--grace", "1s", ...flags], { stdio: "ignore" });
    while (!existsSync(portFile) || readFileSync(portFile, "utf8") === "") {
      if (child.exitCode !== null) throw new Error("the server ended before it served");
      await sleep(20);
    }
    const bound = readFileSync(portFile, "utf8").trim();
    return new Server(bound, child, folder);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const ended =
      this.process.exitCode === null && this.process.signalCode === null ? once(this.process, "exit") : null;
    this.process.kill(signal);
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
