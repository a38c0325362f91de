// The page's own types: Vite takes them away unread.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { ok, test } from "./harness.mjs";

test("the types hold", async () => {
  const tsc = createRequire(import.meta.url).resolve("../../../node_modules/typescript/bin/tsc");
  const root = fileURLToPath(new URL("../", import.meta.url));
  const child = spawn(process.execPath, [tsc, "-p", root]);
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (some) => {
      printed += some;
    });
  const code = await new Promise((resolve) => child.once("close", resolve));
  ok(code === 0, printed);
});
