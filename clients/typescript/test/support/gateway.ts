// The real gateway, in a process of its own.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { within } from "./within.js";

/** An environment variable of `cargo xtask test`. */
function needed(variable: string): string {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set: run the tests with \`cargo xtask test --clients\``);
  return value;
}

/** A busy machine may take longer for a line than these allow by default. */
const PATIENT = [
  "engine.rows=4",
  "engine.context=512",
  "turn.queue_timeout_ms=600000",
  "engine.overload_wait_ms=600000",
  "session.heartbeat_ms=60000",
  "log.level=warn",
];

/** Settings of a gateway that plays its built-in text in the place of the model, so many words a second. */
export const scripted = (wordsPerSecond: number): string[] => [
  "engine.kind=scripted",
  `engine.script_tokens_per_second=${wordsPerSecond}`,
];

/** A gateway on a free port. */
export class Gateway {
  readonly #process: ChildProcess;
  readonly #data: string;
  readonly port: number;

  private constructor(process: ChildProcess, data: string, port: number) {
    this.#process = process;
    this.#data = data;
    this.port = port;
  }

  /** Starts it, with settings (`section.key=value`), and waits until it listens. */
  static async start(...settings: string[]): Promise<Gateway> {
    const binary = needed("NPC_GATEWAY_TEST_BINARY");
    const data = mkdtempSync(join(tmpdir(), "npc-gateway-client-"));
    const words = ["serve", "--listen", "127.0.0.1:0", "--data", data];
    if (!settings.includes("engine.kind=scripted")) words.push("--model", needed("NPC_GATEWAY_TEST_MODEL"));
    for (const setting of [...PATIENT, ...settings]) words.push("--set", setting);
    const child = spawn(binary, words, { cwd: data, stdio: ["ignore", "pipe", "inherit"] });
    try {
      const lines = createInterface(child.stdout);
      const said = once(lines, "line").then(([line]) => String(line));
      const failed = once(child, "exit").then(([code]) => `nothing and exited with ${code}`);
      const line = await within(Promise.race([said, failed]), "the start of the gateway");
      const port = /^listening on 127\.0\.0\.1:(\d+)$/.exec(line)?.[1];
      if (port === undefined) throw new Error(`the gateway said ${line}`);
      return new Gateway(child, data, Number(port));
    } catch (error) {
      child.kill("SIGKILL");
      rmSync(data, { recursive: true, force: true });
      throw error;
    }
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Asks it to end, and waits until it has. */
  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === null && signalCode === null) {
      const ended = once(this.#process, "exit");
      this.#process.kill("SIGTERM");
      try {
        await within(ended, "the end of the gateway");
      } finally {
        this.#process.kill("SIGKILL");
      }
    }
    rmSync(this.#data, { recursive: true, force: true });
  }
}
