import { Collecting } from "./collect.ts";
import { COLLECT } from "./collect-scenarios.ts";

const [name, faults, secs] = process.argv.slice(2);
for (const [each, make] of Object.entries(COLLECT)) {
  if (name !== "all" && each !== name) continue;
  const t = Date.now();
  const r = await new Collecting(await make(Number(faults))).explore({
    deadline: Date.now() + Number(secs ?? 30) * 1000,
  });
  console.log(each, { ...r, violations: r.violations.length }, ((Date.now() - t) / 1000).toFixed(1) + "s");
  for (const v of r.violations) console.log(v.message, "\n  " + v.trace.join("\n  "));
}
