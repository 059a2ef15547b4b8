// Puts the committed contracts on a chain, and looks at those that are there.
//
//   node contracts/deploy.mjs RPC token [SUPPLY]   SmtToken, for chains of tests; all of it is the deployer's
//   node contracts/deploy.mjs RPC book TOKEN       SmtChequeBook, which pays in TOKEN
//   node contracts/deploy.mjs RPC check HASH       whether a transaction has created one of the two
//
// The node signs, with the first account that it has: anvil does, as does a node with a signer behind it.
import fs from "node:fs";

const [rpc, command, argument] = process.argv.slice(2);

async function ask(method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await fetch(rpc, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const { result, error } = await answer.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

function bytecode(name) {
  const file = new URL(`out/${name}.json`, import.meta.url);
  return JSON.parse(fs.readFileSync(file)).bytecode;
}

const word = (digits) => digits.toLowerCase().padStart(64, "0");

async function create(name, constructorArgument) {
  const [from] = await ask("eth_accounts");
  if (!from) throw new Error("the node has no account");
  const transaction = { from, data: bytecode(name) + constructorArgument };
  const gas = await ask("eth_estimateGas", transaction);
  const hash = await ask("eth_sendTransaction", { ...transaction, gas });
  console.error(`sent ${hash}`);
  while (!(await ask("eth_getTransactionReceipt", hash))) await new Promise((done) => setTimeout(done, 500));
  await check(hash);
}

// Bytecode is created by what is committed or it is not: the transaction has all of it, and the constructor's argument.
async function check(hash) {
  const [sent, receipt] = [await ask("eth_getTransactionByHash", hash), await ask("eth_getTransactionReceipt", hash)];
  if (receipt?.status !== "0x1" || sent?.to) throw new Error(`${hash} has created nothing`);
  const name = ["SmtToken", "SmtChequeBook"].find((it) => sent.input.startsWith(bytecode(it)));
  const constructorArgument = name && sent.input.slice(bytecode(name).length);
  if (constructorArgument?.length !== 64) throw new Error(`${hash} has created something else than contracts/out has`);
  const what = name === "SmtToken" ? ["supply", BigInt(`0x${constructorArgument}`)] : ["token", `0x${constructorArgument.slice(24)}`];
  console.log(`${name} ${receipt.contractAddress}\n${what[0]} ${what[1]}\ntransaction ${hash}`);
}

const commands = {
  token: () => create("SmtToken", word((BigInt(argument ?? 1_000_000) * 10n ** 18n).toString(16))),
  book: () => {
    if (!/^0x[0-9a-fA-F]{40}$/.test(argument)) throw new Error("book: the token's address");
    return create("SmtChequeBook", word(argument.slice(2)));
  },
  check: () => check(argument),
};

try {
  const run = commands[command];
  if (!run) throw new Error("node contracts/deploy.mjs RPC token [SUPPLY] | book TOKEN | check HASH");
  await run();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
