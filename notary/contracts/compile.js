// Compiles all contracts beside it by the pinned compiler, and writes the compiler's JSON to stdout.
//
//     node notary/contracts/compile.js build/peers/solc [FOLDER] > build/contracts.json
//
// The first folder is where `npm ci` put the compiler; the contracts of another are compiled with these. Any warning is
// an error. The same sources give the same bytes anywhere.
"use strict";
const fs = require("fs");
const path = require("path");

const sources = {};
function collect(root, folder) {
  for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const name = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) collect(root, name);
    else if (name.endsWith(".sol")) sources[name] = { content: fs.readFileSync(path.join(root, name), "utf8") };
  }
}
collect(__dirname, "");
if (process.argv[3]) collect(process.argv[3], "");

const solc = require(path.resolve(process.argv[2], "node_modules/solc"));
const settings = JSON.parse(fs.readFileSync(path.join(__dirname, "settings.json"), "utf8"));
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
for (const problem of output.errors || []) process.stderr.write(problem.formattedMessage + "\n");
if (output.errors) process.exitCode = 1;
else process.stdout.write(JSON.stringify({ compiler: solc.version(), contracts: output.contracts }) + "\n");
