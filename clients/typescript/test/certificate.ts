// A certificate for 127.0.0.1 that signs itself, made by openssl for one test.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** Why tests with TLS are skipped, or false. */
export const noCertificates = (() => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return false;
  } catch {
    return "no openssl in PATH";
  }
})();

export function selfSigned(t: TestContext): { folder: string; certFile: string; keyFile: string } {
  const folder = mkdtempSync(join(tmpdir(), "motet-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const made = ["-keyout", keyFile, "-out", certFile];
  execFileSync("openssl", ["req", ...kind, ...made, ...subject], { stdio: "ignore" });
  return { folder, certFile, keyFile };
}
