// Compiles the contracts, the same way everywhere.
//
// usage: node build.mjs MODULES OUT
//
// MODULES is a node_modules as `tests/deps.sh test` installs it, OUT a directory for one file per
// contract: its ABI and the bytecode that creates it. What is in test/ is only compiled into
// OUT/test. contracts/out is committed without that:
//
//     node contracts/build.mjs "$(tests/deps.sh contracts-path)/node_modules" contracts/out
//     rm -r contracts/out/test

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const [modules, out] = process.argv.slice(2).map((name) => path.resolve(name));
if (!out) {
  console.error("usage: node build.mjs MODULES OUT");
  process.exit(2);
}
const solc = createRequire(path.join(modules, "package.json"))("solc");

// The version of the EVM is the oldest with transient storage, which the guard against reentrancy uses. Without the
// hash of the metadata the bytecode depends on nothing but code and settings.
const settings = {
  viaIR: true,
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 1000000 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};

function solidityFiles(directory) {
  return fs
    .readdirSync(path.join(here, directory))
    .filter((name) => name.endsWith(".sol"))
    .sort()
    .map((name) => path.posix.join(directory, name));
}

function compile(files) {
  const sources = files.map((file) => [file, { content: fs.readFileSync(path.join(here, file), "utf8") }]);
  const input = { language: "Solidity", sources: Object.fromEntries(sources), settings };
  const library = (name) => ({ contents: fs.readFileSync(path.join(modules, name), "utf8") });
  return JSON.parse(solc.compile(JSON.stringify(input), { import: library }));
}

function write(file, contract) {
  const abi = contract.abi.map((item) => JSON.stringify(item)).join(",\n");
  const bytecode = JSON.stringify("0x" + contract.evm.bytecode.object);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `{"abi":[\n${abi}\n],\n"bytecode":${bytecode}}\n`);
}

const files = [...solidityFiles("."), ...solidityFiles("test")];
const { contracts = {}, errors = [] } = compile(files);
// A warning is something to mend, too, but in the library it is not ours.
const isLibrary = (error) => error.sourceLocation?.file.startsWith("@openzeppelin/");
const wrong = errors.filter((error) => error.severity === "error" || !isLibrary(error));
if (wrong.length > 0) {
  console.error(wrong.map((error) => error.formattedMessage).join("\n"));
  process.exit(1);
}
for (const file of files) {
  for (const [name, contract] of Object.entries(contracts[file])) {
    write(path.join(out, path.dirname(file), name + ".json"), contract);
  }
}
