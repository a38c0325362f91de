import { everyFault } from "./crash.ts";
import { VERBS } from "./scenarios.ts";

const t = process.cpuUsage();
for (const [name, make] of Object.entries(VERBS)) {
  if (process.argv[2] && !name.includes(process.argv[2])) continue;
  const { base, plan } = await make();
  const r = await everyFault(base, plan);
  console.log(name, r.requests, r.runs, r.violations.length, (process.cpuUsage(t).user / 1e6).toFixed(1));
  const seen = new Set<string>();
  for (const v of r.violations) {
    const k = v.message.slice(0, 60);
    if (seen.has(k)) continue;
    seen.add(k);
    console.log(
      "  ",
      v.message.slice(0, 400),
      v.trace.filter((s) => s.includes("←")),
    );
  }
}
