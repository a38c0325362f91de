import { explore } from "./interleave.ts";
import { SCENARIOS } from "./scenarios.ts";

const [name, faults] = process.argv.slice(2);
const t = process.cpuUsage();
const r = await explore(await SCENARIOS[name as string]!(Number(faults)), { deadline: Date.now() + 100000 });
console.log(r, (process.cpuUsage(t).user / 1e6).toFixed(1));
for (const v of r.violations) console.log(v.message, v.trace);
