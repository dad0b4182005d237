// Writes the generated TypeScript of proto/ into src/gen, or checks that it is up to date.
//
// The protos are compiled by the repository's own tool, in its Python environment (PYTHON, default python); the plugin
// that writes the code is pinned by package-lock.json. The rules of buf.validate are left out: the server checks them,
// and their code is larger than all of the contract.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  EnumOptionsSchema,
  EnumValueOptionsSchema,
  FieldOptionsSchema,
  FileDescriptorSetSchema,
  MessageOptionsSchema,
  OneofOptionsSchema,
} from "@bufbuild/protobuf/wkt";

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = join(HERE, "src", "gen");
const RULES = "buf/validate/validate.proto";
const RULES_FIELD = 1159; // Of the options that buf.validate extends.
const OPTIONS = new Map(
  [FieldOptionsSchema, OneofOptionsSchema, MessageOptionsSchema, EnumOptionsSchema, EnumValueOptionsSchema].map(
    (schema) => [schema.typeName, schema],
  ),
);
const MOST = 64 * 1024 * 1024;

function compile() {
  const folder = mkdtempSync(join(tmpdir(), "motet-gen-"));
  try {
    const image = join(folder, "image.binpb");
    const tool = join(HERE, "..", "..", "tools", "gen_proto.py");
    execFileSync(process.env.PYTHON ?? "python", [tool, "--image", image], { stdio: "inherit" });
    return fromBinary(FileDescriptorSetSchema, readFileSync(image)).file;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Options are the only place of the rules, so every descriptor that has options loses them there.
function withoutRules(descriptor) {
  for (const value of Object.values(descriptor)) {
    if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
      withoutRules(value);
    }
  }
  const { options } = descriptor;
  if (options?.$unknown) {
    options.$unknown = options.$unknown.filter((field) => field.no !== RULES_FIELD);
    if (options.$unknown.length === 0) delete options.$unknown;
    if (toBinary(OPTIONS.get(options.$typeName), options).length === 0) delete descriptor.options;
  }
  return descriptor;
}

function generate() {
  const files = compile()
    .filter((file) => file.name !== RULES)
    .map((file) => {
      file.dependency = file.dependency.filter((name) => name !== RULES);
      return withoutRules(file);
    });
  const request = create(CodeGeneratorRequestSchema, {
    parameter: "target=ts,import_extension=js",
    fileToGenerate: files.map((file) => file.name).filter((name) => name.startsWith("motet/")),
    protoFile: files,
  });
  const plugin = join(HERE, "node_modules", ".bin", "protoc-gen-es");
  const written = execFileSync(plugin, { input: toBinary(CodeGeneratorRequestSchema, request), maxBuffer: MOST });
  const response = fromBinary(CodeGeneratorResponseSchema, written);
  if (response.error) throw new Error(response.error);
  return new Map(response.file.map((file) => [file.name, file.content]));
}

function kept() {
  const names = existsSync(TARGET) ? readdirSync(TARGET, { recursive: true }).map(String) : [];
  return names.filter((name) => name.endsWith(".ts")).map((name) => name.replaceAll("\\", "/"));
}

const check = process.argv.includes("--check");
const fresh = generate();
const stale = kept().filter((name) => !fresh.has(name));
for (const [name, content] of fresh) {
  const path = join(TARGET, name);
  if (existsSync(path) && readFileSync(path, "utf8") === content) continue;
  stale.push(name);
  if (!check) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
}
if (check && stale.length > 0) {
  console.error(`generated TypeScript is out of date, run clients/typescript/generate.sh:\n  ${stale.join("\n  ")}`);
  process.exit(1);
}
if (!check) stale.filter((name) => !fresh.has(name)).forEach((name) => rmSync(join(TARGET, name)));
