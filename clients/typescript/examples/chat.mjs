// A small terminal chat: one line of yours, one answer. `/quit` or the end of the input leaves.
//
//   node examples/chat.mjs ws://127.0.0.1:7777 --player mina --npc carmilla --archetype vampire
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { connect, NpcGatewayError, RequestError } from "npc-gateway-client";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    player: { type: "string", default: "player" },
    npc: { type: "string", default: "carmilla" },
    archetype: { type: "string", default: "vampire" },
  },
});
const [url = "ws://127.0.0.1:7777"] = positionals;

/**
 * Prints the words as they come.
 *
 * @param {import("npc-gateway-client").Npc} npc
 * @param {string} line
 */
async function answer(npc, line) {
  process.stdout.write(`${npc.info.npc.name}: `);
  const turn = npc.say(line);
  try {
    for await (const { text } of turn) process.stdout.write(text);
    const { reason } = await turn.done;
    process.stdout.write(reason === "stop" ? "\n" : ` [${reason}]\n`);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    process.stdout.write(`[${error.message}]\n`);
  }
}

async function chat() {
  const session = await connect({ url, token: values.player });
  // What happens to the connection, while the conversation goes on.
  session.on("state", (change) => {
    if (change.state === "reconnecting")
      console.error(`[lost; next attempt in ${change.delayMs.toFixed(0)} ms]`);
    if (change.state === "open") console.error(change.resumed ? "[back]" : "[back, in a new session]");
  });
  try {
    const npc = await session.join({ npc: values.npc, archetype: values.archetype });
    const input = createInterface({ input: process.stdin });
    for await (const line of input) {
      if (line.trim() === "/quit") break;
      if (line.trim() !== "") await answer(npc, line.trim());
    }
    input.close();
  } finally {
    session.close();
  }
}

try {
  await chat();
} catch (error) {
  if (!(error instanceof NpcGatewayError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
