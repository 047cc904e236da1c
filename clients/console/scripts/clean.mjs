// Removes the compiled tests, so that none of an older source runs.
import { rmSync } from "node:fs";

rmSync(new URL("../build", import.meta.url), { recursive: true, force: true });
