import type { Adapter, Archetypes, HistoryPage, ProvisioningItem, SessionItem, Stats } from "./answers.js";

/** An answer takes no longer, in milliseconds. */
const PATIENCE_MS = 10_000;

/** The server's refusal, in its own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** What operators ask: `/api/v1`. */
export class Api {
  /** In `jwt` mode; it lives here and nowhere else. */
  token: string | undefined;

  stats(): Promise<Stats> {
    return this.#ask("stats");
  }

  sessions(): Promise<{ items: SessionItem[]; next?: string }> {
    return this.#ask("sessions?limit=100");
  }

  archetypes(): Promise<Archetypes> {
    return this.#ask("archetypes");
  }

  adapters(): Promise<{ items: Adapter[] }> {
    return this.#ask("adapters");
  }

  provisioning(): Promise<{ items: ProvisioningItem[] }> {
    return this.#ask("provisioning");
  }

  history(npc: string, limit: number, before?: string): Promise<HistoryPage> {
    const page = before === undefined ? "" : `&before=${encodeURIComponent(before)}`;
    return this.#ask(`npcs/${encodeURIComponent(npc)}/history?limit=${limit}${page}`);
  }

  promote(adapter: string, version: string, share?: number): Promise<unknown> {
    const body = { version, ...(share === undefined ? {} : { share }) };
    return this.#ask(`adapters/${encodeURIComponent(adapter)}/promote`, body);
  }

  rollback(adapter: string): Promise<unknown> {
    return this.#ask(`adapters/${encodeURIComponent(adapter)}/rollback`, {});
  }

  provision(archetype: string): Promise<ProvisioningItem> {
    return this.#ask(`archetypes/${encodeURIComponent(archetype)}/provision`, {});
  }

  async #ask<Answer>(path: string, body?: object): Promise<Answer> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (this.token !== undefined) headers["authorization"] = `Bearer ${this.token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const answer = await fetch(new URL(`api/v1/${path}`, home()), {
      method: body === undefined ? "GET" : "POST",
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const told: unknown = await answer.json().catch(() => undefined);
    if (!answer.ok) {
      const { error } = (told ?? {}) as { error?: unknown };
      throw new ApiError(
        answer.status,
        typeof error === "string" ? error : `the server answered ${answer.status}`,
      );
    }
    return told as Answer;
  }
}

/** Where the gateway is: whatever served this page. */
export function home(): URL {
  return new URL(".", location.href);
}
