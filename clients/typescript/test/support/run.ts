// Other programs: what they print, and what they complain of.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { within } from "./within.js";

/** The package's folder. */
export const PACKAGE = fileURLToPath(new URL("../../../", import.meta.url));

export interface Ran {
  code: number | null;
  out: string;
  complaint: string;
}

export async function run(words: readonly string[], cwd: string, said = ""): Promise<Ran> {
  const [program = "", ...rest] = words;
  const child = spawn(program, rest, { cwd });
  try {
    // It may have ended without a look at it.
    child.stdin.on("error", () => {});
    child.stdin.end(said);
    const all = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    const [out, complaint, [code]] = await within(all, words.join(" "));
    return { code, out, complaint };
  } finally {
    child.kill("SIGKILL");
  }
}

/** Node, which shows its WebSocket from version 22 on without being asked. */
export const NODE: readonly string[] = [
  process.execPath,
  ...process.execArgv.filter((flag) => flag.includes("websocket")),
];
