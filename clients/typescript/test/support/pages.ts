// A web server for the pages of the tests: the package's folder, as a game would serve it, and the golden frames.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

const root = new URL("../../../", import.meta.url);
const golden = new URL("../../schemas/golden/", root);

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
};

/** A page with nothing on it that can import the client by its name. */
const BLANK = `<!doctype html><title>test</title><script type="importmap">${JSON.stringify({
  imports: {
    "npc-gateway-client": "/dist/index.js",
    "@msgpack/msgpack": "/node_modules/@msgpack/msgpack/dist.esm/index.mjs",
  },
})}</script>`;

export class Pages {
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async ({ url = "/" }, response) => {
      const { pathname } = new URL(url, "http://pages");
      try {
        const body = await content(pathname);
        response.setHeader("content-type", TYPES[extname(pathname)] ?? "application/octet-stream");
        response.end(body);
      } catch {
        response.statusCode = 404;
        response.end();
      }
    });
  }

  static async serve(): Promise<Pages> {
    const pages = new Pages();
    pages.#server.listen(0, "127.0.0.1");
    await once(pages.#server, "listening");
    return pages;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function content(pathname: string): Promise<string | Buffer> {
  if (pathname === "/blank.html") return BLANK;
  const [, first, ...rest] = pathname.split("/");
  const file = first === "golden" ? new URL(rest.join("/"), golden) : new URL(`.${pathname}`, root);
  return await readFile(fileURLToPath(file));
}
