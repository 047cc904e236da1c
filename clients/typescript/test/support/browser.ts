// A headless Chromium: the one of the package @sparticuz/chromium, which brings the libraries that it needs.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

/** Wherever the packages of these tests lie: the console's use this file as well, with packages of their own. */
const packages = dirname(dirname(createRequire(import.meta.url).resolve("playwright-core/package.json")));

/** Unpacks the browser beside the packages, once for each version, and says where it is. */
function unpacked(): string {
  const packed = join(packages, "@sparticuz/chromium");
  const { version } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"));
  const folder = join(packages, ".cache", `chromium-${version}`);
  if (existsSync(folder)) return folder;
  mkdirSync(dirname(folder), { recursive: true });
  const temporary = mkdtempSync(`${folder}-`);
  try {
    // It unpacks to the folder for temporary files, and its libraries only where it takes the machine for that of
    // the service that it was made for.
    const env = { ...process.env, TMPDIR: temporary, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs20.x" };
    const script = `import chromium from "@sparticuz/chromium"; await chromium.executablePath();`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: packages, env });
    // Its own names folders of that service; without a font a page that has text crashes.
    const fonts = `<fontconfig><dir>${folder}/fonts</dir><cachedir>${folder}/fonts-cache</cachedir></fontconfig>`;
    writeFileSync(join(temporary, "fonts", "fonts.conf"), fonts);
    renameSync(temporary, folder);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    // Another process may have been there first.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** Starts the browser; NPC_GATEWAY_TEST_CHROMIUM names another one than the package's. */
export async function launch(): Promise<Browser> {
  const own = process.env["NPC_GATEWAY_TEST_CHROMIUM"];
  if (!own && (process.platform !== "linux" || process.arch !== "x64")) {
    throw new Error("set NPC_GATEWAY_TEST_CHROMIUM to a Chromium: that of the tests is for Linux on x64");
  }
  const folder = own ? "" : unpacked();
  const libraries = {
    LD_LIBRARY_PATH: join(folder, "al2023", "lib"),
    FONTCONFIG_PATH: join(folder, "fonts"),
  };
  return await chromium.launch({
    executablePath: own || join(folder, "chromium"),
    // Its sandbox needs rights that a container or root does not have; all that it opens is ours.
    args: ["--no-sandbox"],
    env: { ...(process.env as Record<string, string>), ...(own ? {} : libraries) },
  });
}
